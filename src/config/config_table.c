/*
 * The table of all options of a run: type, field, class (option.h), limits,
 * default and help. One macro per type; a row is
 *
 *     TYPE(key, field of struct config, class, [limits,] default, help)
 *
 * A new option needs a row here and a field in config.h. The order is that of
 * --help and of the saved config. Saved configs that contain a renamed or
 * removed key cannot be read any more, so these runs cannot be resumed.
 */
#include "config/config.h"

#include <stddef.h>

#define FIELD(field) offsetof(struct config, field)
/* The limits are doubles, which are exact for whole numbers up to here. */
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
 * Rows of one section are adjacent, because options_format_yaml() opens a
 * section once. Folders are OPTION_FREE: a run is bound to the content of its
 * data (their digest), not to the path.
 */
// clang-format off
static const struct option rows[] = {
TEXT("data.train", data.train, FREE, "DIR", "data/train",
     "folder of training shards, as vocpack pack writes it"),
TEXT("data.val", data.val, FREE, "DIR", "data/val",
     "folder of validation shards; empty: no validation"),
BOOL("data.shuffle", data.shuffle, IDENTITY, "true",
     "shuffle the training images, in a new order every epoch"),
CHOICE("data.normalize", data.normalize, IDENTITY, "none|imagenet", "none",
     "scale pixels to 0..1 (none), then subtract ImageNet's mean and divide by "
     "its standard deviation (imagenet)"),
INT_AUTO("data.loader_threads", data.loader_threads, FREE, 1, 256, "auto",
     "threads per rank that read training images; auto: the rank's share of "
     "the cores"),

TEXT("model.weights", model.weights, IDENTITY, "FILE", "",
     "pretrained weights to start from, a .safetensors file with torchvision's "
     "names; empty: random initialization"),
CHOICE("model.freeze", model.freeze, IDENTITY,
     "auto|none|stem|layer1|layer2|layer3|backbone", "auto",
     "freeze the backbone from its input up to and including this stage; auto: "
     "backbone with model.weights, else none"),
CHOICE("model.freeze_bn", model.freeze_bn, IDENTITY, "train|eval", "train",
     "batch norm of frozen layers in training: normalize with the statistics "
     "of the batch (train) or with the running statistics (eval)"),
REAL("model.head_dropout", model.head_dropout, IDENTITY, 0, 0.99, "0.5",
     "dropout probability in the head"),
INT("model.width", model.width, IDENTITY, 8, 512, "64",
     "channels of the stem and of stage 1, a multiple of 8; each later stage "
     "has twice as many"),
INTS("model.blocks", model.blocks, IDENTITY, 1, 100, "3,4,6,3",
     "residual blocks in each of the four stages; 3,4,6,3 is ResNet34"),

REAL("loss.box_scale", loss.box_scale, IDENTITY, 0, 1e6, "1",
     "weight of the box loss in the total loss (box loss: L1 in pixels, mean "
     "over the four edges)"),
REAL("loss.class_scale", loss.class_scale, IDENTITY, 0, 1e6, "25",
     "weight of the class loss in the total loss (class loss: cross entropy in "
     "nats)"),
CHOICE("loss.weights", loss.weights, IDENTITY, "none|balanced", "none",
     "class weights in the class loss: none, or balanced (in inverse "
     "proportion to the training images of the class)"),

CHOICE("optim.name", optim.name, IDENTITY, "adam|adamw|sgd", "adam",
     "optimizer: Adam, AdamW or SGD with momentum"),
REAL("optim.lr", optim.lr, IDENTITY, 0, 100, "1e-3",
     "learning rate; optim.lr_scale, optim.warmup and optim.schedule scale it"),
REAL("optim.backbone_lr_mult", optim.backbone_lr_mult, IDENTITY, 0, 1000, "1",
     "learning rate of the backbone as a multiple of that of the head"),
REAL("optim.beta1", optim.beta1, IDENTITY, 0, 0.999999, "0.9",
     "adam, adamw: decay rate of the first moment"),
REAL("optim.beta2", optim.beta2, IDENTITY, 0, 0.999999, "0.999",
     "adam, adamw: decay rate of the second moment"),
REAL("optim.momentum", optim.momentum, IDENTITY, 0, 0.999999, "0.9",
     "sgd: momentum"),
REAL("optim.eps", optim.eps, IDENTITY, 1e-16, 1, "1e-8",
     "adam, adamw: epsilon, added to the root of the second moment"),
REAL("optim.weight_decay", optim.weight_decay, IDENTITY, 0, 100, "0",
     "weight decay: an L2 penalty with adam and sgd, decoupled with adamw"),
REAL("optim.clip_norm", optim.clip_norm, IDENTITY, 0, 1e9, "0",
     "clip the norm of the gradient to this value; 0: no clipping"),
REAL("optim.loss_scale", optim.loss_scale, IDENTITY, 1, 16777216, "65536",
     "initial loss scale, with train.precision fp16"),
INT("optim.loss_scale_steps", optim.loss_scale_steps, IDENTITY, 1, 1000000000,
    "2000",
    "with train.precision fp16: double the loss scale after this many steps "
    "without overflow (it is halved at each overflow)"),
CHOICE("optim.lr_scale", optim.lr_scale, IDENTITY, "none|sqrt|linear", "none",
     "scale the learning rate: none, sqrt or linear (in the global batch, "
     "relative to 64)"),
CHOICE("optim.schedule", optim.schedule, IDENTITY, "constant|step|cosine|onecycle",
     "constant",
     "how the learning rate changes over optim.schedule_steps"),
/* An extended run keeps its schedule unless this key is given. */
INT_AUTO("optim.schedule_steps", optim.schedule_steps, EXTENT, 1,
         MAX_INT, "auto",
     "length of the schedule in steps; auto: the steps of the run at its first "
     "start. A resumed run may only increase it"),
INT("optim.warmup", optim.warmup, IDENTITY, 0, MAX_INT, "0",
     "steps of linear warmup: step k of N has k/N of the learning rate"),
INTS("optim.milestones", optim.milestones, IDENTITY, 1, MAX_INT, "",
     "optim.schedule step: numbers of the steps after which the learning rate "
     "is multiplied by optim.gamma"),
REAL("optim.gamma", optim.gamma, IDENTITY, 0, 1, "0.1",
     "optim.schedule step: factor of the learning rate at each milestone"),

INT("train.epochs", train.epochs, EXTENT, 1, 1e6, "5",
     "passes over the training images. A resumed run may only increase it"),
INT_AUTO("train.steps", train.steps, EXTENT, 1, MAX_INT, "auto",
     "steps of the whole run; overrides train.epochs; auto: computed from "
     "train.epochs"),
INT_AUTO("train.global_batch", train.global_batch, IDENTITY, 2, 1e6, "64",
     "images per step over all replicas (train.replicas x train.micro_batch)"),
INT_AUTO("train.micro_batch", train.micro_batch, IDENTITY, 2, 1e5, "auto",
     "images per step and replica, instead of train.global_batch; auto: "
     "train.global_batch / train.replicas"),
INT_AUTO("train.replicas", train.replicas, IDENTITY, 1, 65536, "auto",
     "replicas of the model, each with batch-norm statistics of its own; auto: "
     "one per rank"),
INT("train.seed", train.seed, IDENTITY, 0, MAX_INT, "1",
     "seed of initialization, shuffling, augmentation and dropout"),
CHOICE("train.precision", train.precision, IDENTITY, "fp32|tf32|bf16|fp16",
     "fp32",
     "arithmetic of the convolutions; backends cpu and ref compute in fp32 "
     "only"),
TEXT("train.name", train.name, FREE, "NAME", "",
     "name of the run, whose folder is train.dir/NAME; default: the name of "
     "the first -c file, without its extension"),
TEXT("train.dir", train.dir, FREE, "DIR", "runs",
     "folder that holds the folders of runs"),
INT("train.stop_at", train.stop_at, FREE, 0, MAX_INT, "0",
     "save a checkpoint and stop after this step, with exit code 75; start "
     "again to resume; 0: off"),
REAL("train.max_time", train.max_time, FREE, 0, 1e6, "0",
     "save a checkpoint and stop after this many minutes, with exit code 75; "
     "start again to resume; 0: off"),
INT("train.patience", train.patience, EXTENT, 0, MAX_INT, "0",
     "early stopping: end the run after this many validated epochs in a row "
     "without a lower loss; 0: off"),

BOOL("augment.enable", augment.enable, IDENTITY, "true",
     "augment the training images at random"),
REAL("augment.flip", augment.flip, IDENTITY, 0, 1, "0.5",
     "probability of a horizontal flip"),
REAL("augment.rotate", augment.rotate, IDENTITY, 0, 180, "10",
     "largest rotation in degrees, in both directions"),
REAL("augment.brightness", augment.brightness, IDENTITY, 0, 1, "0.1",
     "brightness jitter: the factor is uniform in 1 +- this value"),
REAL("augment.contrast", augment.contrast, IDENTITY, 0, 1, "0.1",
     "contrast jitter: the factor is uniform in 1 +- this value"),
REAL("augment.saturation", augment.saturation, IDENTITY, 0, 1, "0.1",
     "saturation jitter: the factor is uniform in 1 +- this value"),
REAL("augment.hue", augment.hue, IDENTITY, 0, 0.5, "0.1",
     "hue jitter: the shift is uniform in +- this fraction of a full turn"),

CHOICE("backend", backend, OPTION_BACKEND, "auto|cpu|cuda|ref", "auto",
     "compute backend; auto: the fastest that this machine supports"),
TEXT("backend_dir", backend_dir, FREE, "DIR", "",
     "folder that is searched first for backend plugins "
     "(libvocdist_backend_NAME.so); then the program's folder and "
     "../lib/vocdist"),
INT_AUTO("cpu.threads", cpu.threads, IDENTITY, 1, 1024, "auto",
     "compute threads per replica; auto: the rank's share of the cores. Fixed "
     "for the run, because the bits depend on it"),
TEXT("tune", tune, IDENTITY, "auto|on|off|FILE", "auto",
     "choice of algorithms: measured at the first start of the run (on), by a "
     "fixed rule (off), or as in the plan of another run (FILE: "
     "runs/NAME/plan.json); auto: on if the backend can measure. The plan is "
     "kept in the run's folder, because the bits depend on it"),
CHOICE("exchange.name", exchange.name, FREE, "auto|none|mpi|nccl", "auto",
     "library that averages gradients over the ranks; nccl: that of the "
     "backend's plugin, on the device (NCCL for cuda); auto: with several ranks "
     "nccl if the backend has it, else mpi; with one rank none"),
CHOICE("exchange.order", exchange.order, IDENTITY, "fixed|fast", "fixed",
     "order of summation in the average: fixed gives the same bits at any "
     "number of ranks; fast is not supported in this version"),
REAL("exchange.bucket", exchange.bucket, FREE, 0.001, 1024, "4",
     "MB (2^20 bytes) of gradients that are averaged at a time, while backward "
     "computes the next ones; does not change the trained weights"),

TEXT("resume", resume, FREE, "auto|none|PATH", "auto",
     "auto: resume the run from its last checkpoint, if it has one; none: "
     "start a new run; PATH: start from this checkpoint"),
INT("checkpoint.every", checkpoint.every, FREE, 0, MAX_INT, "0",
     "steps between checkpoints, besides the one after each epoch; 0: off"),
REAL("checkpoint.minutes", checkpoint.minutes, FREE, 0, 1e6, "10",
     "minutes between checkpoints, besides the one after each epoch; 0: off"),
INT("checkpoint.keep", checkpoint.keep, FREE, 1, 1e6, "3",
     "number of latest checkpoints to keep, besides the best one"),

INT("eval.every", eval.every, FREE, 1, 1e6, "1",
     "epochs between validations; the last epoch is always validated"),
INT("eval.batch", eval.batch, FREE, 1, 4096, "32",
     "images per batch in validation and evaluation"),

REAL("timeout.setup", timeout.setup, FREE, 1, 1e6, "600",
     "time limit in seconds of each wait for other ranks during the start and "
     "per validation batch. The job ends if no rank makes progress for so "
     "long"),
REAL("timeout.step", timeout.step, FREE, 1, 1e6, "300",
     "time limit in seconds of each wait for other ranks in a step. The job "
     "ends if no rank makes progress for so long"),
REAL("timeout.checkpoint", timeout.checkpoint, FREE, 1, 1e6, "420",
     "time limit in seconds of each wait for other ranks at a checkpoint. The "
     "job ends if no rank makes progress for so long"),

CONFIG_ROW_LOG_LEVEL(FIELD(log.level)),
INT("log.every", log.every, FREE, 1, 1e6, "10",
     "steps between writes to steps.jsonl, which has a row for every step"),
};
// clang-format on

const struct option_table config_table = {
    .name = "config",
    .rows = rows,
    .n = sizeof rows / sizeof *rows,
    .is_config = true,
};
