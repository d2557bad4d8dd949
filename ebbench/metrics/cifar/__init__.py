"""The project's classifier of CIFAR-10, whose features stand in where Inception's are not to be had."""
