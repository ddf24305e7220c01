"""Settings that every test shares."""

import torch

# Small batches gain nothing from a second thread, and tests that run side by side lose much by it.
torch.set_num_threads(1)
