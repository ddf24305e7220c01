"""Data sets as arrays: digits (embedded), MNIST, Fashion-MNIST, folders of images, .npz files."""
