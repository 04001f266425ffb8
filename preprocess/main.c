/*
 * vocpack: converts PASCAL VOC folders to data sets for vocdist. This file has
 * the subcommands with their option tables; the shared front end cli/program.h
 * reads the options and runs the subcommand.
 */
#include "base/clock.h"
#include "base/log.h"
#include "cli/program.h"
#include "comm/comm.h"
#include "preprocess/data_check.h"
#include "preprocess/pack.h"
#include "preprocess/pack_ranks.h"
#include "tools/demo/demo.h"
#include "tools/demo/demo_shapes.h"

#include <stdio.h>

/* ---- rows that several tables contain ---- */

#define ROW_THREADS(offset_)                                                   \
    {                                                                          \
        .key = "threads", .letter = 'j', .type = OPTION_INT,                   \
        .offset = (offset_), .default_text = "auto", .is_auto = true,          \
        .min = 1, .max = 1024, .help = "number of threads; auto: one per core" \
    }
#define ROW_SPLIT(offset_, help_)                                     \
    {                                                                 \
        .key = "split", .type = OPTION_TEXT, .offset = (offset_),     \
        .default_text = "", .metavar = "NAME[,NAME]", .help = (help_) \
    }

/* ---- pack ---- */

#define AT(field) offsetof(struct pack_options, field)

static const struct option pack_rows[] = {
    {.key = "output",
     .letter = 'o',
     .type = OPTION_TEXT,
     .offset = AT(output),
     .default_text = "",
     .metavar = "DIR",
     .help = "output folder of the data set"},
    ROW_THREADS(AT(threads)),
    ROW_SPLIT(AT(split),
              "lists in ImageSets/Main to pack; several are written to "
              "DIR/NAME each; default: all annotated images in one data set"),
    {.key = "classes",
     .type = OPTION_TEXT,
     .offset = AT(classes),
     .default_text = "",
     .metavar = "FILE",
     .help = "file of class names, one per line; default: the names in the "
             "annotations, sorted"},
    {.key = "size",
     .type = OPTION_INT,
     .offset = AT(size),
     .default_text = "224",
     .min = 32,
     .max = 4096,
     .help = "width and height of a stored image, pixels"},
    {.key = "empty",
     .type = OPTION_CHOICE,
     .offset = AT(empty),
     .default_text = "skip",
     .choices = "skip|error",
     .help = "images without a usable object: skip them, or fail"},
    {.key = "skip-bad",
     .type = OPTION_BOOL,
     .offset = AT(skip_bad),
     .default_text = "false",
     .help = "skip and list unreadable files instead of failing"},
    {.key = "overwrite",
     .type = OPTION_BOOL,
     .offset = AT(overwrite),
     .default_text = "false",
     .help = "replace a finished data set in DIR"},
    {.key = "shard-size",
     .type = OPTION_INT,
     .offset = AT(shard_mib),
     .default_text = "256",
     .metavar = "MIB",
     .min = 1,
     .max = 65536,
     .help = "maximum size of a shard, in MiB of pixels"},
};
#undef AT

static const struct option_table pack_table = {
    "pack", pack_rows, sizeof pack_rows / sizeof *pack_rows, false};

static enum vd_err run_pack(struct command_call *call)
{
    struct comm comm;
    enum vd_err err = comm_open(&comm, COMM_SETUP_TIMEOUT_S);
    if (err == VD_OK)
        err = pack_ranks_run(call->options, call->positionals,
                             call->n_positionals, &comm);
    comm_close(&comm, err);
    return err;
}

/* ---- check ---- */

#define AT(field) offsetof(struct data_check_options, field)

static const struct option check_rows[] = {
    {.key = "strict",
     .type = OPTION_BOOL,
     .offset = AT(strict),
     .default_text = "false",
     .help = "exit with code 65 if there is a problem"},
    ROW_SPLIT(AT(split),
              "lists in ImageSets/Main to check; default: all of them"),
    ROW_THREADS(AT(threads)),
};
#undef AT

static const struct option_table check_table = {
    "check", check_rows, sizeof check_rows / sizeof *check_rows, false};

static enum vd_err run_check(struct command_call *call)
{
    return data_check_run(call->options, call->positionals, call->n_positionals,
                          stdout);
}

/* ---- demo ---- */

#define AT(field) offsetof(struct demo_options, field)

static const struct option demo_rows[] = {
    {.key = "images",
     .type = OPTION_INT,
     .offset = AT(images),
     .default_text = "8000",
     .min = DEMO_VAL_EVERY,
     .max = 1000000,
     .help = "number of images; every 8th is for validation"},
    {.key = "seed",
     .type = OPTION_INT,
     .offset = AT(seed),
     .default_text = "1",
     .min = 0,
     .max = 9007199254740992.0,
     .help = "seed of the random numbers; each seed gives other images"},
    {.key = "size",
     .type = OPTION_INT,
     .offset = AT(size),
     .default_text = "128",
     .metavar = "PX",
     .min = 48,
     .max = 1024,
     .help = "longer side of an image, in pixels"},
    ROW_THREADS(AT(threads)),
};
#undef AT

static const struct option_table demo_table = {
    "demo", demo_rows, sizeof demo_rows / sizeof *demo_rows, false};

static enum vd_err run_demo(struct command_call *call)
{
    const struct demo_options *options = call->options;
    if (call->n_positionals != 1)
        return VD_FAIL(VD_USAGE,
                       "demo: needs one folder (%d given)\n"
                       "usage: vocpack demo DIR",
                       call->n_positionals);
    const char *folder = call->positionals[0];
    double start = clock_now();
    VD_TRY(demo_write(folder, options));
    int64_t val = options->images / DEMO_VAL_EVERY;
    log_info("%s: %lld training images, %lld validation images, %d classes, "
             "%.1f s",
             folder, (long long)(options->images - val), (long long)val,
             DEMO_CLASSES, clock_now() - start);
    log_info("pack it with: vocpack pack %s --split train,val -o data", folder);
    return VD_OK;
}

static const struct command commands[] = {
    {.name = "pack",
     .summary = "convert VOC folders to a data set for vocdist",
     .usage = "VOCROOT... -o DIR",
     .details =
         "VOCROOT contains Annotations, JPEGImages and ImageSets/Main. The "
         "label "
         "of an\nimage is the class and the box of its largest object. Under "
         "mpirun, the ranks\ndivide the work.",
     .table = &pack_table,
     .options_size = sizeof(struct pack_options),
     .takes_positionals = true,
     .run = run_pack},
    {.name = "check",
     .summary = "report every problem of VOC folders by file and line",
     .usage = "VOCROOT...",
     .table = &check_table,
     .options_size = sizeof(struct data_check_options),
     .takes_positionals = true,
     .run = run_check},
    {.name = "demo",
     .summary = "write a generated data set to try vocdist with",
     .usage = "DIR",
     .details = "Generated images in VOC's layout: 20 classes that differ in "
                "shape, texture and\ncolour.",
     .table = &demo_table,
     .options_size = sizeof(struct demo_options),
     .takes_positionals = true,
     .run = run_demo},
};

static const struct program vocpack = {
    "vocpack", "convert PASCAL VOC folders to data sets", commands,
    sizeof commands / sizeof *commands};

int main(int argc, char **argv)
{
    return program_main(&vocpack, argc, argv);
}
