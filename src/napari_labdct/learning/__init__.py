"""Teaching a network to see diffraction spots, and using what it learnt.

Read in this order: `normalisation` (counts to noise units), `synthesis` (endless training
crops; `scenes` and `rendering` make them on a GPU), `pairs` (reviewed ones), `networks`, `losses`,
`training` (the loop; `settings`, `schedules`, `batches`, `learner`, `validation` and `run_folder`
are its parts, `distributed` several GPUs), `finetuning`, `model` (a trained network as one file).
Importing the package loads none of them; torch comes in with the first network.
"""

from __future__ import annotations
