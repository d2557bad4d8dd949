"""The project's CIFAR-10 classifier, whose features replace Inception's if those are not available."""
