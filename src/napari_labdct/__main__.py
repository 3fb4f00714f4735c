"""``python -m napari_labdct`` is the ``labdct`` command."""

if __name__ == "__main__":
    try:
        from .cli import main

        status = main()
    except KeyboardInterrupt:  # while Python was still reading our first modules
        status = 130
    raise SystemExit(status)
