/*
 * base/stderr_queue: a full standard error does not block the program; info
 * lines are dropped before warnings and errors, and their number is printed.
 */
#include "check.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/stderr_queue.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define LINES    4000 /* about 400 KB: more than pipe and queue hold */
#define MAX_TEXT ((size_t)1 << 20)

struct redirection {
    int before, reader;
};

/* Replaces descriptor 2 by `writer`, whose output can be read from `reader`. */
static struct redirection redirect_stderr(int reader, int writer)
{
    struct redirection r = {dup(STDERR_FILENO), reader};
    assert_true(r.before >= 0 && dup2(writer, STDERR_FILENO) >= 0);
    close(writer);
    fcntl(reader, F_SETFL, O_NONBLOCK);
    return r;
}

static void restore_stderr(struct redirection *r)
{
    dup2(r->before, STDERR_FILENO);
    close(r->before);
    close(r->reader);
}

/* Reads until three flushes in a row give no more text. Owned. */
static char *read_all(int fd)
{
    char *text = malloc(MAX_TEXT + 1);
    size_t n = 0;
    assert_non_null(text);
    for (int idle = 0; idle < 3;) {
        ssize_t k = read(fd, text + n, MAX_TEXT - n);
        n += k > 0 ? (size_t)k : 0;
        idle = k > 0 ? 0 : idle + 1;
        stderr_flush();
    }
    text[n] = '\0';
    return text;
}

static void write_lines(void)
{
    double start = clock_now();
    for (int i = 0; i < LINES; i++)
        log_info("line %d: %080d", i, i);
    log_warn("the warning at the end");
    /* If each line waited for STDERR_FLUSH_S, this would take two hours. */
    assert_true(clock_now() - start < 60);
}

/* The text has whole lines in order, the warning, and the number of lines that
 * were dropped. */
static void check_text(const char *text)
{
    int n = 0, dropped = -1;
    char *copy = strdup(text), *rest = copy, *line;
    bool warned = false;
    while ((line = strsep(&rest, "\n")) && *line) {
        int i = 0, number = 0;
        line[strcspn(line, "\r")] = '\0';
        if (sscanf(line, "vocdist: line %d: %d", &i, &number) == 2) {
            assert_int_equal(i, n);
            assert_int_equal(number, n);
            n++;
        } else if (sscanf(line, "... %d lines were dropped", &dropped) != 1) {
            assert_string_equal(line,
                                "vocdist: warning: the warning at the end");
            warned = true;
        }
    }
    free(copy);
    assert_true(warned);
    assert_true(n > 0 && n < LINES);
    assert_int_equal(dropped, LINES - n);
}

static void an_unread_pipe_does_not_block(void **state)
{
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    struct redirection r = redirect_stderr(fd[0], fd[1]);
    write_lines();
    char *text = read_all(r.reader);
    restore_stderr(&r);
    check_text(text);
    free(text);
}

static void a_stopped_terminal_does_not_block(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    struct redirection r = redirect_stderr(master, slave);
    assert_int_equal(tcflow(STDERR_FILENO, TCOOFF), 0); /* as Ctrl-S does */
    write_lines();
    assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
    char *text = read_all(r.reader);
    restore_stderr(&r);
    check_text(text);
    free(text);
}

static void an_error_waits_a_bounded_time_for_a_reader(void **state)
{
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    struct redirection r = redirect_stderr(fd[0], fd[1]);
    write_lines();
    double start = clock_now();
    log_error("nobody reads this");
    double waited = clock_now() - start;
    char *text = read_all(r.reader);
    restore_stderr(&r);
    assert_true(waited >= STDERR_FLUSH_S && waited < 10 * STDERR_FLUSH_S);
    assert_non_null(strstr(text, "error: nobody reads this\n"));
    free(text);
}

static void a_file_gets_every_line(void **state)
{
    (void)state;
    char path[] = "/tmp/test_stderr_queue_XXXXXX";
    int writer = mkstemp(path), reader = open(path, O_RDONLY);
    assert_true(writer >= 0 && reader >= 0);
    unlink(path);
    struct redirection r = redirect_stderr(reader, writer);
    write_lines();
    char *text = read_all(r.reader);
    restore_stderr(&r);
    assert_non_null(strstr(text, "line 3999: "));
    assert_null(strstr(text, "dropped"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unread_pipe_does_not_block),
        cmocka_unit_test(a_stopped_terminal_does_not_block),
        cmocka_unit_test(an_error_waits_a_bounded_time_for_a_reader),
        cmocka_unit_test(a_file_gets_every_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
