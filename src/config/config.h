/*
 * The settings of a training run: one struct, one table.
 *
 *     struct config config;
 *     struct option_set set;
 *     options_init(&set);
 *     options_add(&set, &config_table, &config);
 *     ... options_read_*(&set, ...) ...
 *     VD_TRY(config_check(&set, first_file));
 *
 * A new option needs a field here and a row in config_table.c; command line,
 * YAML, environment, help, saved config and resume check follow from the row.
 *
 * A value of -1 in a field that allows "auto" means auto. Most of these are
 * resolved by the first start of a run to the same value on all ranks, saved,
 * and used by every restart (train/train_plan.h). Two are resolved by each
 * start: data.loader_threads, per rank, and train.steps, from the epochs. All
 * calls are Local.
 */
#ifndef VOCDIST_CONFIG_CONFIG_H
#define VOCDIST_CONFIG_CONFIG_H

#include "base/err.h"
#include "config/option.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_AUTO         ((int64_t)-1)
#define CONFIG_GLOBAL_BATCH 64 /* when neither batch is given */

/* Values of the choices, in the order of the words in config_table.c. */
enum config_normalize { NORMALIZE_NONE, NORMALIZE_IMAGENET };
enum config_freeze {
    FREEZE_AUTO,
    FREEZE_NONE,
    FREEZE_STEM,
    FREEZE_LAYER1,
    FREEZE_LAYER2,
    FREEZE_LAYER3,
    FREEZE_BACKBONE,
};
enum config_freeze_bn { FREEZE_BN_TRAIN, FREEZE_BN_EVAL };
enum config_loss_weights { LOSS_WEIGHTS_NONE, LOSS_WEIGHTS_BALANCED };
enum config_optimizer { OPTIMIZER_ADAM, OPTIMIZER_ADAMW, OPTIMIZER_SGD };
enum config_schedule {
    SCHEDULE_CONSTANT,
    SCHEDULE_STEP,
    SCHEDULE_COSINE,
    SCHEDULE_ONECYCLE,
};
enum config_lr_scale { LR_SCALE_NONE, LR_SCALE_SQRT, LR_SCALE_LINEAR };
enum config_precision {
    PRECISION_FP32,
    PRECISION_TF32,
    PRECISION_BF16,
    PRECISION_FP16,
};
enum config_backend { BACKEND_AUTO, BACKEND_CPU, BACKEND_CUDA, BACKEND_REF };
enum config_exchange {
    EXCHANGE_AUTO,
    EXCHANGE_NONE,
    EXCHANGE_MPI,
    EXCHANGE_NCCL,
};
enum config_order { ORDER_FIXED, ORDER_FAST };

struct config {
    struct {
        char *train, *val; /* shard folders; val "": no validation */
        bool shuffle;
        int normalize;          /* enum config_normalize */
        int64_t loader_threads; /* per rank, or auto */
    } data;
    struct {
        char *weights; /* file; "": random initialization */
        int freeze;    /* enum config_freeze */
        int freeze_bn; /* enum config_freeze_bn */
        double head_dropout;
        int64_t width;
        struct option_ints blocks; /* four: one per stage */
    } model;
    struct {
        double box_scale, class_scale;
        int weights; /* enum config_loss_weights */
    } loss;
    struct {
        int name; /* enum config_optimizer */
        double lr, backbone_lr_mult, beta1, beta2, eps, weight_decay;
        double momentum;               /* SGD */
        double clip_norm;              /* 0: off */
        double loss_scale;             /* initial; fp16 only, as the next */
        int64_t loss_scale_steps;      /* applied steps until it doubles */
        int lr_scale;                  /* enum config_lr_scale */
        int schedule;                  /* enum config_schedule */
        int64_t schedule_steps;        /* or auto: all steps of the run */
        int64_t warmup;                /* steps */
        struct option_ints milestones; /* steps, increasing */
        double gamma;
    } optim;
    struct {
        int64_t epochs, steps; /* steps: or auto, computed from epochs */
        /* After config_check() one of these two is auto, or both agree with
         * `replicas`. batch_resolve() computes the missing ones. */
        int64_t global_batch, micro_batch;
        int64_t replicas; /* or auto */
        int64_t seed;
        int precision;    /* enum config_precision */
        char *name, *dir; /* run folder DIR/NAME; see config_check() */
        int64_t stop_at;  /* step, 0: off */
        double max_time;  /* minutes, 0: off */
        int64_t patience; /* validated epochs, 0: off */
    } train;
    struct {
        bool enable;
        double flip;   /* probability */
        double rotate; /* degrees, in both directions */
        double brightness, contrast, saturation, hue;
    } augment;
    int backend; /* enum config_backend */
    char *backend_dir;
    struct {
        int64_t threads; /* per replica, or auto */
    } cpu;
    char *tune; /* "auto", "on", "off" or the path of a plan, see
                   train/tuning.h */
    struct {
        int name;      /* enum config_exchange */
        int order;     /* enum config_order */
        double bucket; /* MB (2^20 bytes) */
    } exchange;
    char *resume; /* "auto", "none" or a path */
    struct {
        int64_t every;  /* steps; 0: after each epoch only */
        double minutes; /* 0: off */
        int64_t keep;
    } checkpoint;
    struct {
        int64_t every; /* epochs */
        int64_t batch;
    } eval;
    struct {
        double setup, step, checkpoint; /* seconds */
    } timeout;
    struct {
        int level;     /* enum log_level */
        int64_t every; /* steps */
    } log;
};

/* The row of log.level, for programs without this config too. `offset_` is the
 * offset of an int field (enum log_level). */
#define CONFIG_ROW_LOG_LEVEL(offset_)                                   \
    {                                                                   \
        .key = "log.level", .type = OPTION_CHOICE, .offset = (offset_), \
        .default_text = "info", .choices = "error|warn|info|debug",     \
        .help = "minimum severity of the messages on stderr",           \
        .class = OPTION_FREE                                            \
    }

extern const struct option_table config_table;

/* The value as text: "auto", "cpu", ... Static. */
const char *config_backend_name(const struct config *c);
const char *config_exchange_name(const struct config *c);

/*
 * Checks the rules between keys; call it once, after all origins are read.
 * Sets an empty train.name to the stem of `first_file`, or to "default" if
 * that is NULL, and decides which of global_batch and micro_batch is used.
 * VD_CONFIG on a contradiction, VD_UNSUPPORTED for a value that this version
 * does not implement.
 */
enum vd_err config_check(struct option_set *set,
                         const char *first_file) VD_MUST_USE;

/*
 * Hash of the values of all rows of the given classes, for example
 * CONFIG_CLASS(OPTION_IDENTITY) | CONFIG_CLASS(OPTION_BACKEND). Equal values
 * give equal digests, however they are spelled ("1e-3", "0.001").
 */
#define CONFIG_CLASS(class) (1u << (class))
#define CONFIG_CLASSES_ALL                                       \
    (CONFIG_CLASS(OPTION_FREE) | CONFIG_CLASS(OPTION_IDENTITY) | \
     CONFIG_CLASS(OPTION_EXTENT) | CONFIG_CLASS(OPTION_BACKEND))
uint64_t config_digest(const struct option_set *set, unsigned classes);

/*
 * Resume: applies the saved config of the run `name` (`yaml`: n bytes, as in
 * the checkpoint) to `set`, before any auto value is resolved again.
 *
 * A key that is unset or auto in `set` gets the saved value; keys of class
 * OPTION_FREE are not changed. VD_CONFIG if a key of OPTION_IDENTITY differs
 * or one of OPTION_EXTENT shrinks (0 is the largest extent): the message lists
 * all old and new values, and ends in `remedy`. A different backend is a
 * warning. A new train.epochs without train.steps replaces the saved steps.
 * `tune` as on and as a path do not differ: the caller compares the plans.
 */
enum vd_err config_resume(struct option_set *set, const char *name,
                          const char *yaml, size_t n,
                          const char *remedy) VD_MUST_USE;

/* Appends a line "key: old -> new (origin of the new value)" for each value
 * that differs from the saved one, for rows of all classes. */
enum vd_err config_diff(const struct option_set *set, const char *name,
                        const char *yaml, size_t n,
                        struct text *out) VD_MUST_USE;

#endif
