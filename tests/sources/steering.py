"""The function of the Lambda in a Keras 1 steering model: pixels to -1 … 1, as its README says."""


def lambda_1(x):
    return x / 127.5 - 1.0
