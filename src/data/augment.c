#include "data/augment.h"

#include "base/rng.h"
#include "data/box.h"

#include <math.h>
#include <string.h>

/* Which number of a position's stream is for what; part of the bits. */
enum draw {
    DRAW_FLIP,
    DRAW_ANGLE,
    DRAW_BRIGHTNESS,
    DRAW_CONTRAST,
    DRAW_SATURATION,
    DRAW_HUE,
    DRAW_ORDER,
};

static double uniform(uint64_t seed, const struct slot *slot, enum draw which,
                      double low, double high)
{
    double u = rng_uniform(seed, RNG_AUGMENT, slot->position, which);
    return low + (high - low) * u;
}

static double factor(uint64_t seed, const struct slot *slot, enum draw which,
                     double strength)
{
    double low = strength < 1 ? 1 - strength : 0;
    return uniform(seed, slot, which, low, 1 + strength);
}

/* One of the 24 orders, equally likely up to 2^-30. */
static void draw_order(uint64_t seed, struct slot *slot)
{
    uint32_t words[4];
    rng_words(seed, RNG_AUGMENT, slot->position, DRAW_ORDER, words);
    for (uint32_t i = 3; i > 0; i--) {
        uint32_t k = (uint32_t)(((uint64_t)words[i] * (i + 1)) >> 32);
        uint8_t kept = slot->order[i];
        slot->order[i] = slot->order[k];
        slot->order[k] = kept;
    }
}

static void keep(const float box[4], struct slot *slot)
{
    const float warp[6] = {1, 0, 0, 0, 1, 0}, color[4] = {1, 1, 1, 0};
    const uint8_t order[4] = {0, 1, 2, 3};
    memcpy(slot->warp, warp, sizeof warp);
    memcpy(slot->color, color, sizeof color);
    memcpy(slot->order, order, sizeof order);
    memcpy(slot->box, box, sizeof slot->box);
}

/* From input pixel to stored pixel: the turn's inverse, then the flip's. With
 * pixel centres at + 1/2 the turn is about size / 2. */
static void set_warp(bool flip, double degrees, int size, struct slot *slot)
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
        slot->warp[i] = (float)warp[i];
}

void augment_draw(const struct augment *augment, uint64_t seed, int size,
                  const float box[4], struct slot *slot)
{
    keep(box, slot);
    if (!augment || !augment->enable)
        return;
    bool flip = uniform(seed, slot, DRAW_FLIP, 0, 1) < augment->flip;
    double degrees =
        uniform(seed, slot, DRAW_ANGLE, -augment->rotate, augment->rotate);
    set_warp(flip, degrees, size, slot);
    if (flip)
        box_flip(slot->box, size, slot->box);
    box_turn(slot->box, degrees, size, size, slot->box);
    slot->color[0] =
        (float)factor(seed, slot, DRAW_BRIGHTNESS, augment->brightness);
    slot->color[1] =
        (float)factor(seed, slot, DRAW_CONTRAST, augment->contrast);
    slot->color[2] =
        (float)factor(seed, slot, DRAW_SATURATION, augment->saturation);
    slot->color[3] =
        (float)uniform(seed, slot, DRAW_HUE, -augment->hue, augment->hue);
    draw_order(seed, slot);
}
