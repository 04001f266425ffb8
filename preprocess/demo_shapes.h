/*
 * What the generated pictures show: 20 classes, each a shape with a texture
 * in a colour, told apart by all three together.
 *
 *     5 shapes, each in 2 textures and 2 colours: whoever knows only the
 *     shape, the texture or the colour still has 4 or more classes to choose
 *     from; who knows two of them has at least 2 classes nearly always.
 *
 * Shapes live in their own frame: centre 0, about 1 in radius. All calls are
 * Local and pure.
 */
#ifndef VOCDIST_PREPROCESS_DEMO_SHAPES_H
#define VOCDIST_PREPROCESS_DEMO_SHAPES_H

#define DEMO_CLASSES 20

/* "blue_dotted_star". Classes are numbered in the order of their names. */
const char *demo_class_name(int class);

/* Below 1 inside the shape, and growing as the point leaves its middle line;
 * (0.88, 1) is the rim. No point of a shape is further than 1 from its
 * centre. */
double demo_shape_level(int class, double x, double y);

/* Does (x, y) show the texture's second colour? One period is `period`. */
int demo_texture_mark(int class, double period, double x, double y);

/* The class's colour, 0..1. */
void demo_class_color(int class, double rgb[3]);

#endif
