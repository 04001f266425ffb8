#include "data/box.h"

#include <math.h>

static float clip_to_side(double value, int high)
{
    return (float)fmin(fmax(value, 0), high);
}

void box_scale(const double in[4], const int from[2], const int to[2],
               float out[4])
{
    for (int k = 0; k < 4; k++)
        out[k] = clip_to_side(in[k] * to[k % 2] / from[k % 2], to[k % 2]);
}

void box_flip(const float in[4], int width, float out[4])
{
    float x1 = in[0];
    out[0] = (float)(width - (double)in[2]);
    out[1] = in[1];
    out[2] = (float)(width - (double)x1);
    out[3] = in[3];
}

void box_rotate(const float in[4], double degrees, int width, int height,
                float out[4])
{
    const double radians = degrees * (3.14159265358979323846 / 180);
    const double c = cos(radians), s = sin(radians);
    const double mx = width / 2.0, my = height / 2.0;
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int corner = 0; corner < 4; corner++) {
        double x = (double)in[corner & 1 ? 2 : 0] - mx;
        double y = (double)in[corner & 2 ? 3 : 1] - my;
        double rotated[2] = {c * x + s * y + mx, -s * x + c * y + my};
        for (int k = 0; k < 2; k++) {
            low[k] = fmin(low[k], rotated[k]);
            high[k] = fmax(high[k], rotated[k]);
        }
    }
    out[0] = clip_to_side(low[0], width);
    out[1] = clip_to_side(low[1], height);
    out[2] = clip_to_side(high[0], width);
    out[3] = clip_to_side(high[1], height);
}

double box_area(const float b[4])
{
    return fmax((double)b[2] - (double)b[0], 0) *
           fmax((double)b[3] - (double)b[1], 0);
}

double box_iou(const float a[4], const float b[4])
{
    const float shared[4] = {fmaxf(a[0], b[0]), fmaxf(a[1], b[1]),
                             fminf(a[2], b[2]), fminf(a[3], b[3])};
    /* fminf() and fmaxf() ignore NaN, so `shared` may be valid when a box is
     * not; a NaN edge makes the box's own area 0 */
    double area_a = box_area(a), area_b = box_area(b);
    double both = box_area(shared), iou = both / (area_a + area_b - both);
    return area_a > 0 && area_b > 0 && iou > 0 ? iou : 0;
}
