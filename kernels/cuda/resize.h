// Shared by resize.cc and resize.cu.
#pragma once

/** Where an output row or column lies between two of the input; `fraction` is the second one's weight. */
struct Between { int low, high; float fraction; };
struct Sizes { int inHeight, inWidth, outHeight, outWidth, channels; };
