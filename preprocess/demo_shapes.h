/*
 * What the generated images show: 20 classes, each a shape with a texture
 * in a colour, told apart by all three together.
 *
 *     5 shapes, each in 2 of 5 colours, each plain and dotted. Every colour
 *     is that of 2 shapes, so whoever knows only two of the three still has 2
 *     classes to choose from.
 *
 * Shapes live in their own frame: centre 0, about 1 in radius. All calls are
 * Local and pure.
 */
#ifndef VOCDIST_PREPROCESS_DEMO_SHAPES_H
#define VOCDIST_PREPROCESS_DEMO_SHAPES_H

#include <stdbool.h>

#define DEMO_CLASSES 20

/* "blue_dotted_star". Classes are numbered in the order of their names. */
const char *demo_class_name(int class);

/* Below 1 inside the shape, and growing as the point leaves its middle line.
 * No point of a shape is further than 1 from its centre. */
double demo_shape_level(int class, double x, double y);

/* Is (x, y) on a dot? They are `period` apart. */
bool demo_texture_mark(int class, double period, double x, double y);

/* The class's colour, 0..1. */
void demo_class_color(int class, double rgb[3]);

#endif
