"""Find the classifier's head and add its class activation maps."""
