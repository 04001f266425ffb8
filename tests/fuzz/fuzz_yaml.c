/* Arbitrary bytes as a config file: an error or a config, no crash; a config
 * that was read is equal after it is written and read again. */
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct config config, again;
    struct option_set set, other;
    struct text first = {0}, second = {0};
    log_set_sink(log_discard, NULL);
    options_init(&set);
    options_init(&other);
    options_add(&set, &config_table, &config);
    options_add(&other, &config_table, &again);
    if (options_read_yaml_text(&set, "fuzz", (const char *)bytes, n) == VD_OK) {
        options_format_yaml(&set, true, &first);
        VD_ASSERT(options_read_yaml_text(&other, "again", first.bytes,
                                         first.length) == VD_OK);
        options_format_yaml(&other, false, &second);
        VD_ASSERT(config_digest(&set, CONFIG_CLASSES_ALL) ==
                  config_digest(&other, CONFIG_CLASSES_ALL));
        if (config_check(&set, "a.yaml") == VD_OK)
            VD_ASSERT(config_resume(&set, "run", second.bytes, second.length,
                                    "") == VD_OK);
    }
    log_set_sink(NULL, NULL);
    options_clear(&set);
    options_clear(&other);
    free(first.bytes);
    free(second.bytes);
    return 0;
}
