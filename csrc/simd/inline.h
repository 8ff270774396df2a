// Register blocks live or die by inlining.
#pragma once

#define INLINE inline __attribute__((always_inline))
