"""The function of the Lambdas in the archives of ``tests/history``, by the names of the layers."""


def lambda_(x):
    return x * 2 + 1


lambda_1 = lambda_2 = lambda_3 = lambda_
