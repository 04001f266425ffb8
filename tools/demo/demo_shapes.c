#include "tools/demo/demo_shapes.h"

#include <math.h>

enum shape { CROSS, DISC, RING, STAR, TRIANGLE };
enum texture { DOTTED, PLAIN };
enum color { BLUE, GREEN, PURPLE, RED, YELLOW };

struct class
{
    const char *name;
    enum color color;
    enum texture texture;
    enum shape shape;
};

static const struct class classes[DEMO_CLASSES] = {
    {"blue_dotted_cross", BLUE, DOTTED, CROSS},
    {"blue_dotted_disc", BLUE, DOTTED, DISC},
    {"blue_plain_cross", BLUE, PLAIN, CROSS},
    {"blue_plain_disc", BLUE, PLAIN, DISC},
    {"green_dotted_disc", GREEN, DOTTED, DISC},
    {"green_dotted_ring", GREEN, DOTTED, RING},
    {"green_plain_disc", GREEN, PLAIN, DISC},
    {"green_plain_ring", GREEN, PLAIN, RING},
    {"purple_dotted_ring", PURPLE, DOTTED, RING},
    {"purple_dotted_star", PURPLE, DOTTED, STAR},
    {"purple_plain_ring", PURPLE, PLAIN, RING},
    {"purple_plain_star", PURPLE, PLAIN, STAR},
    {"red_dotted_star", RED, DOTTED, STAR},
    {"red_dotted_triangle", RED, DOTTED, TRIANGLE},
    {"red_plain_star", RED, PLAIN, STAR},
    {"red_plain_triangle", RED, PLAIN, TRIANGLE},
    {"yellow_dotted_cross", YELLOW, DOTTED, CROSS},
    {"yellow_dotted_triangle", YELLOW, DOTTED, TRIANGLE},
    {"yellow_plain_cross", YELLOW, PLAIN, CROSS},
    {"yellow_plain_triangle", YELLOW, PLAIN, TRIANGLE},
};

static const double palette[][3] = {
    [BLUE] = {0.16, 0.38, 0.86},   [GREEN] = {0.20, 0.65, 0.28},
    [PURPLE] = {0.62, 0.25, 0.72}, [RED] = {0.86, 0.20, 0.18},
    [YELLOW] = {0.95, 0.76, 0.16},
};

const char *demo_class_name(int class)
{
    return classes[class].name;
}

void demo_class_color(int class, double rgb[3])
{
    for (int k = 0; k < 3; k++)
        rgb[k] = palette[classes[class].color][k];
}

/* A star is symmetric under rotations by 72 degrees and reflection: maps (x, y)
 * to the half sector next to the upper tip (0, 1), x >= 0. */
static void fold_star(double *x, double *y)
{
    const double cos36 = 0.80901699437494742, sin36 = 0.58778525229247313;
    *x = fabs(*x);
    for (int side = 1; side >= -1; side -= 2) {
        double over = fmax(side * cos36 * *x - sin36 * *y, 0);
        *x -= 2 * over * side * cos36;
        *y += 2 * over * sin36;
    }
    *x = fabs(*x);
}

static double star_level(double x, double y)
{
    /* The edge runs from the tip to the notch: 36 degrees away, radius 0.46. */
    const double notch_x = 0.27038, notch_y = 0.37215;
    fold_star(&x, &y);
    return (1 - notch_y) / notch_x * x + y;
}

static double triangle_level(double x, double y)
{
    return fmax(1.7320508075688772 * fabs(x) + y, -2 * y);
}

static double cross_level(double x, double y)
{
    const double length = 0.93, width = 0.35;
    double ax = fabs(x), ay = fabs(y);
    return fmin(fmax(ax / length, ay / width), fmax(ax / width, ay / length));
}

double demo_shape_level(int class, double x, double y)
{
    double level = 2;
    switch (classes[class].shape) {
    case CROSS:
        level = cross_level(x, y);
        break;
    case DISC:
        level = sqrt(x * x + y * y);
        break;
    case RING:
        level = fabs(sqrt(x * x + y * y) - 0.72) / 0.28;
        break;
    case STAR:
        level = star_level(x, -y); /* a tip upwards */
        break;
    case TRIANGLE:
        level = triangle_level(x, -y);
        break;
    }
    return level;
}

bool demo_texture_mark(int class, double period, double x, double y)
{
    if (classes[class].texture == PLAIN)
        return false;
    double u = x / period - floor(x / period) - 0.5;
    double v = y / period - floor(y / period) - 0.5;
    return u * u + v * v < 0.11;
}
