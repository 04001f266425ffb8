/* The one table of a run's options. */
#include "config/config.h"

#include <stddef.h>

#define FIELD(field) offsetof(struct config, field)
/* Whole numbers up to here are exact as doubles, which the limits are. */
#define MAX_INT 9007199254740992.0 /* 2^53 */

#define FREE     OPTION_FREE
#define IDENTITY OPTION_IDENTITY
#define EXTENT   OPTION_EXTENT

#define BOOL(key, field, class_, default_, help_)                        \
    {                                                                    \
        key, OPTION_BOOL, FIELD(field), default_, help_, .class = class_ \
    }
#define INT(key, field, class_, low, high, default_, help_) \
    {                                                       \
        key, OPTION_INT, FIELD(field), default_, help_,     \
            .min = (low), .max = (high), .class = class_    \
    }
#define INT_AUTO(key, field, class_, low, high, default_, help_)          \
    {                                                                     \
        key, OPTION_INT, FIELD(field), default_, help_,                   \
            .min = (low), .max = (high), .class = class_, .is_auto = true \
    }
#define REAL(key, field, class_, low, high, default_, help_) \
    {                                                        \
        key, OPTION_REAL, FIELD(field), default_, help_,     \
            .min = (low), .max = (high), .class = class_     \
    }
#define TEXT(key, field, class_, metavar_, default_, help_)                   \
    {                                                                         \
        key, OPTION_TEXT, FIELD(field), default_, help_, .metavar = metavar_, \
                                                         .class = class_      \
    }
#define CHOICE(key, field, class_, choices_, default_, help_) \
    {                                                         \
        key, OPTION_CHOICE, FIELD(field), default_, help_,    \
            .choices = choices_, .class = class_              \
    }
#define INTS(key, field, class_, low, high, default_, help_) \
    {                                                        \
        key, OPTION_INTS, FIELD(field), default_, help_,     \
            .min = (low), .max = (high), .class = class_     \
    }

/*
 * Rows of one section stand together: that is how they are written. Folders
 * are free because a run is tied to their content (data digest), not to where
 * they lie.
 */
// clang-format off
static const struct option rows[] = {
TEXT("data.train", data.train, FREE, "DIR", "data/train",
     "shards to train on"),
TEXT("data.val", data.val, FREE, "DIR", "data/val",
     "shards to validate on; empty: none"),
BOOL("data.shuffle", data.shuffle, IDENTITY, "true",
     "a new order of the images every epoch"),
CHOICE("data.normalize", data.normalize, IDENTITY, "none|imagenet", "none",
     "pixels as 0..1, or with ImageNet's mean and deviation"),
INT_AUTO("data.loader_threads", data.loader_threads, FREE, 1, 256, "auto",
     "threads per rank that read images"),

TEXT("model.weights", model.weights, IDENTITY, "FILE", "",
     "pretrained weights (.safetensors) to start from"),
CHOICE("model.freeze", model.freeze, IDENTITY,
     "auto|none|stem|layer1|layer2|layer3|backbone", "auto",
     "what keeps its weights, from the input up to there; auto: backbone with "
     "model.weights, else none"),
CHOICE("model.freeze_bn", model.freeze_bn, IDENTITY, "train|eval", "train",
     "batch norm of the frozen part: this batch's statistics, or the stored "
     "ones"),
REAL("model.head_dropout", model.head_dropout, IDENTITY, 0, 0.99, "0.5",
     "share of the head's values dropped in training"),
INT("model.width", model.width, IDENTITY, 8, 512, "64",
     "channels of the first layer, a multiple of 8"),
INTS("model.blocks", model.blocks, IDENTITY, 1, 100, "3,4,6,3",
     "residual blocks per stage"),

REAL("loss.box_scale", loss.box_scale, IDENTITY, 0, 1e6, "1",
     "factor of the box loss (L1, pixels, mean over 4)"),
REAL("loss.class_scale", loss.class_scale, IDENTITY, 0, 1e6, "25",
     "factor of the class loss (cross entropy, nats)"),
CHOICE("loss.weights", loss.weights, IDENTITY, "none|balanced", "none",
     "class weights: none, or rare classes count more"),

CHOICE("optim.name", optim.name, IDENTITY, "adam|adamw|sgd", "adam",
     "the optimizer"),
REAL("optim.lr", optim.lr, IDENTITY, 0, 100, "1e-3",
     "learning rate"),
REAL("optim.backbone_lr_mult", optim.backbone_lr_mult, IDENTITY, 0, 1000, "1",
     "the backbone's learning rate as a multiple of optim.lr"),
REAL("optim.beta1", optim.beta1, IDENTITY, 0, 0.999999, "0.9",
     "Adam: decay of the mean"),
REAL("optim.beta2", optim.beta2, IDENTITY, 0, 0.999999, "0.999",
     "Adam: decay of the mean square"),
REAL("optim.momentum", optim.momentum, IDENTITY, 0, 0.999999, "0.9",
     "SGD: momentum"),
REAL("optim.eps", optim.eps, IDENTITY, 1e-16, 1, "1e-8",
     "Adam: added to the root of the mean square"),
REAL("optim.weight_decay", optim.weight_decay, IDENTITY, 0, 100, "0",
     "L2 penalty"),
REAL("optim.clip_norm", optim.clip_norm, IDENTITY, 0, 1e9, "0",
     "largest gradient norm; 0: no clipping"),
CHOICE("optim.lr_scale", optim.lr_scale, IDENTITY, "none|sqrt|linear", "none",
     "scale optim.lr by (global batch / 64): not, its root, or linearly"),
CHOICE("optim.schedule", optim.schedule, IDENTITY, "constant|step|cosine|onecycle",
     "constant", "how the learning rate changes over the steps"),
/* Growing it is an explicit wish; left alone, an extended run keeps it. */
INT_AUTO("optim.schedule_steps", optim.schedule_steps, EXTENT, 1,
         MAX_INT, "auto",
     "steps the schedule spans; auto: the first start's total"),
INT("optim.warmup", optim.warmup, IDENTITY, 0, MAX_INT, "0",
     "steps over which the learning rate rises from 0"),
INTS("optim.milestones", optim.milestones, IDENTITY, 1, MAX_INT, "",
     "schedule step: steps after which the rate is multiplied by optim.gamma"),
REAL("optim.gamma", optim.gamma, IDENTITY, 0, 1, "0.1",
     "schedule step: the factor"),

INT("train.epochs", train.epochs, EXTENT, 1, 1e6, "5",
     "passes over the training images"),
INT_AUTO("train.steps", train.steps, EXTENT, 1, MAX_INT, "auto",
     "steps in all, instead of train.epochs"),
INT_AUTO("train.global_batch", train.global_batch, IDENTITY, 2, 1e6, "64",
     "images per step over all replicas"),
INT_AUTO("train.micro_batch", train.micro_batch, IDENTITY, 2, 1e5, "auto",
     "images per step and replica, instead of train.global_batch"),
INT_AUTO("train.replicas", train.replicas, IDENTITY, 1, 65536, "auto",
     "copies with batch statistics of their own; auto: one per rank"),
INT("train.seed", train.seed, IDENTITY, 0, MAX_INT, "1",
     "start of all randomness"),
CHOICE("train.precision", train.precision, IDENTITY, "fp32|tf32|bf16|fp16",
     "fp32", "arithmetic of the convolutions"),
TEXT("train.name", train.name, FREE, "NAME", "",
     "the run; default: name of the first -c file"),
TEXT("train.dir", train.dir, FREE, "DIR", "runs",
     "where runs are kept"),
INT("train.stop_at", train.stop_at, FREE, 0, MAX_INT, "0",
     "stop after this step, to be resumed; 0: off"),
REAL("train.max_time", train.max_time, FREE, 0, 1e6, "0",
     "stop after so many minutes, to be resumed; 0: off"),
INT("train.patience", train.patience, EXTENT, 0, MAX_INT, "0",
     "end the run after so many validated epochs in a row without a lower "
     "loss; 0: off"),

BOOL("augment.enable", augment.enable, IDENTITY, "true",
     "change training images at random"),
REAL("augment.flip", augment.flip, IDENTITY, 0, 1, "0.5",
     "probability of a left-right flip"),
REAL("augment.rotate", augment.rotate, IDENTITY, 0, 180, "10",
     "largest rotation, degrees"),
REAL("augment.brightness", augment.brightness, IDENTITY, 0, 1, "0.1",
     "largest change of brightness, as a share"),
REAL("augment.contrast", augment.contrast, IDENTITY, 0, 1, "0.1",
     "largest change of contrast, as a share"),
REAL("augment.saturation", augment.saturation, IDENTITY, 0, 1, "0.1",
     "largest change of saturation, as a share"),
REAL("augment.hue", augment.hue, IDENTITY, 0, 0.5, "0.1",
     "largest shift of hue, as a share of the circle"),

CHOICE("backend", backend, OPTION_BACKEND, "auto|cpu|cuda|ref", "auto",
     "what computes; auto: the fastest that is here"),
TEXT("backend_dir", backend_dir, FREE, "DIR", "",
     "where backend plugins are; none in this version"),
INT_AUTO("cpu.threads", cpu.threads, IDENTITY, 1, 1024, "auto",
     "compute threads of a replica; auto: the rank's share of the cores"),
TEXT("tune", tune, IDENTITY, "auto|on|off|FILE", "auto",
     "measure which algorithms are fastest, or use a saved plan; auto and off "
     "only in this version"),
CHOICE("exchange.name", exchange.name, FREE, "auto|none|mpi|nccl", "auto",
     "what averages gradients over the ranks"),
CHOICE("exchange.order", exchange.order, IDENTITY, "fixed|fast", "fixed",
     "fixed: the same bits at any rank count"),

TEXT("resume", resume, FREE, "auto|none|PATH", "auto",
     "go on where the run stopped, start anew, or start from a checkpoint"),
INT("checkpoint.every", checkpoint.every, FREE, 0, MAX_INT, "0",
     "steps between checkpoints; 0: after each epoch only"),
REAL("checkpoint.minutes", checkpoint.minutes, FREE, 0, 1e6, "10",
     "minutes between checkpoints; 0: off"),
INT("checkpoint.keep", checkpoint.keep, FREE, 1, 1e6, "3",
     "checkpoints kept besides the best"),

INT("eval.every", eval.every, FREE, 1, 1e6, "1",
     "epochs between validations"),
INT("eval.batch", eval.batch, FREE, 1, 4096, "32",
     "images per evaluated batch"),

REAL("timeout.setup", timeout.setup, FREE, 1, 1e6, "600",
     "seconds until all ranks must be ready, and for a batch of validation"),
REAL("timeout.step", timeout.step, FREE, 1, 1e6, "300",
     "seconds a step may take"),
REAL("timeout.checkpoint", timeout.checkpoint, FREE, 1, 1e6, "420",
     "seconds a checkpoint may take"),

CHOICE("log.level", log.level, FREE, "error|warn|info|debug", "info",
     "how much is said on stderr"),
INT("log.every", log.every, FREE, 1, 1e6, "10",
     "steps between writes to steps.jsonl"),
};
// clang-format on

const struct option_table config_table = {
    .name = "config",
    .rows = rows,
    .n = sizeof rows / sizeof *rows,
    .is_config = true,
};
