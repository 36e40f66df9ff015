"""Send CIFAR-10 to Triton over gRPC and measure accuracy, latency and throughput."""
