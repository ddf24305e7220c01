"""A remote endpoint that speaks the Open Inference Protocol v2 over HTTP, as KServe, Triton and MLServer do.

Every query may cost money and every request may fail: images are asked once, answers are kept as they come, and a
request that fails is repeated with growing pauses. What comes back is a stranger's and is checked as such.
"""
