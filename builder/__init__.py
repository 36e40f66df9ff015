"""Train ResNet18 on CIFAR-10, export it, compile it, and publish it as a Triton model repository."""
