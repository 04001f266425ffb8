/*
 * The classes of the generated images: 20 combinations of shape, texture and
 * color.
 *
 *     5 shapes, each in 2 of 5 colors, each plain and dotted. Every color is
 *     used by 2 shapes, so any two of the three properties leave 2 classes to
 *     choose from.
 *
 * Coordinates are in the frame of the shape: center 0, radius about 1. All
 * calls are Local and pure.
 */
#ifndef VOCDIST_TOOLS_DEMO_DEMO_SHAPES_H
#define VOCDIST_TOOLS_DEMO_DEMO_SHAPES_H

#include <stdbool.h>

#define DEMO_CLASSES 20

/* "blue_dotted_star". Classes are numbered in the order of their names. */
const char *demo_class_name(int class);

/* Less than 1 inside the shape; it grows with the distance from the center line
 * of the shape. No point of a shape is further than 1 from its center. */
double demo_shape_level(int class, double x, double y);

/* Whether (x, y) is on a dot of the texture. Dots are `period` apart. */
bool demo_texture_mark(int class, double period, double x, double y);

/* The color of the class, 0..1. */
void demo_class_color(int class, double rgb[3]);

#endif
