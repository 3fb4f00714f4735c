"""What all docks share of one viewer: session, jobs, layers, results, reader and writer."""
