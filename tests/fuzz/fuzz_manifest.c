/* Arbitrary bytes as pack.json: an error or a valid manifest, no crash. */
#include "base/log.h"
#include "data/shard_internal.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct shard_manifest m;
    log_set_sink(log_discard, NULL);
    if (shard_manifest_parse(&m, "pack.json", (const char *)bytes, n) == VD_OK)
        shard_manifest_clear(&m);
    log_set_sink(NULL, NULL);
    return 0;
}
