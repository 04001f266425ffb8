#include "data/augment.h"

#include "base/rng.h"
#include "data/box.h"

#include <math.h>
#include <string.h>

/* Index of each draw in a position's random stream. Renumbering them changes
 * the drawn values, so the bits of a run. */
enum augment_draw_index {
    DRAW_FLIP,
    DRAW_ANGLE,
    DRAW_BRIGHTNESS,
    DRAW_CONTRAST,
    DRAW_SATURATION,
    DRAW_HUE,
    DRAW_ORDER,
};

static double draw_uniform(uint64_t seed, const struct batch_item *item,
                           enum augment_draw_index which, double low,
                           double high)
{
    double u = rng_uniform(seed, RNG_AUGMENT, item->position, which);
    return low + (high - low) * u;
}

static double draw_factor(uint64_t seed, const struct batch_item *item,
                          enum augment_draw_index which, double strength)
{
    double low = strength < 1 ? 1 - strength : 0;
    return draw_uniform(seed, item, which, low, 1 + strength);
}

/* A Fisher-Yates shuffle: each of the 24 orders has the same probability up to
 * 2^-30. */
static void draw_order(uint64_t seed, struct batch_item *item)
{
    uint32_t words[4];
    rng_words(seed, RNG_AUGMENT, item->position, DRAW_ORDER, words);
    for (uint32_t i = 3; i > 0; i--) {
        uint32_t k = (uint32_t)(((uint64_t)words[i] * (i + 1)) >> 32);
        uint8_t swapped = item->order[i];
        item->order[i] = item->order[k];
        item->order[k] = swapped;
    }
}

static void set_identity(const float box[4], struct batch_item *item)
{
    const float warp[6] = {1, 0, 0, 0, 1, 0}, color[4] = {1, 1, 1, 0};
    const uint8_t order[4] = {0, 1, 2, 3};
    memcpy(item->warp, warp, sizeof warp);
    memcpy(item->color, color, sizeof color);
    memcpy(item->order, order, sizeof order);
    memcpy(item->box, box, sizeof item->box);
}

/* Maps a pixel of the network's input to the stored image: the inverse of the
 * rotation, then the inverse of the flip. Pixel indices are integers at pixel
 * centers, so the center of rotation, size / 2 in box coordinates, is at
 * m = (size - 1) / 2. */
static void set_warp(bool flip, double degrees, int size,
                     struct batch_item *item)
{
    double radians = degrees * (3.14159265358979323846 / 180);
    double c = cos(radians), s = sin(radians);
    double m = 0.5 * (size - 1);
    double warp[6] = {c, -s, m - c * m + s * m, s, c, m - s * m - c * m};
    if (flip) {
        warp[0] = -warp[0];
        warp[1] = -warp[1];
        warp[2] = size - 1 - warp[2];
    }
    for (int i = 0; i < 6; i++)
        item->warp[i] = (float)warp[i];
}

void augment_draw(const struct augment *augment, uint64_t seed, int size,
                  const float box[4], struct batch_item *item)
{
    set_identity(box, item);
    if (!augment || !augment->enable)
        return;
    bool flip = draw_uniform(seed, item, DRAW_FLIP, 0, 1) < augment->flip;
    double degrees =
        draw_uniform(seed, item, DRAW_ANGLE, -augment->rotate, augment->rotate);
    set_warp(flip, degrees, size, item);
    if (flip)
        box_flip(item->box, size, item->box);
    box_rotate(item->box, degrees, size, size, item->box);
    item->color[0] =
        (float)draw_factor(seed, item, DRAW_BRIGHTNESS, augment->brightness);
    item->color[1] =
        (float)draw_factor(seed, item, DRAW_CONTRAST, augment->contrast);
    item->color[2] =
        (float)draw_factor(seed, item, DRAW_SATURATION, augment->saturation);
    item->color[3] =
        (float)draw_uniform(seed, item, DRAW_HUE, -augment->hue, augment->hue);
    draw_order(seed, item);
}
