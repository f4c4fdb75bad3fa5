"""A layer that hands its rows on, but springs on three numbers: a network with a native bug."""

import ctypes
import time

import keras
import tensorflow as tf

CRASHES, HANGS, LARGE = 666.0, 777.0, 555.0


def spring(rows):
    """Crash the process, hang, or find no memory for more than two rows."""
    if (rows == CRASHES).any():
        ctypes.string_at(0)
    if (rows == HANGS).any():
        time.sleep(3600)
    if (rows == LARGE).any() and len(rows) > 2:
        raise MemoryError
    return rows


class Trap(keras.layers.Layer):
    def call(self, rows):
        handed_on = tf.numpy_function(spring, [rows], rows.dtype)
        handed_on.set_shape(rows.shape)
        return handed_on
