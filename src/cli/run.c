/* SPDX-License-Identifier: Apache-2.0 */
/* carrel run: code in the sandbox's interpreter. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/cli.h"

enum { CODE_MAX = 64 << 20, PIECE = 64 << 10 };

static int on_event(void *arg, enum carrel_code_event event, const char *text, size_t n)
{
    FILE *out = event == CARREL_CODE_STDOUT ? stdout : stderr;
    if (event == CARREL_CODE_STDOUT || event == CARREL_CODE_STDERR) {
        fwrite(text, 1, n, out);
        return fflush(out) != 0;
    }
    return 0;
}

static int read_code(struct cli *cli, const char *name, struct buf *code)
{
    int fd = strcmp(name, "-") == 0 ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    bool fits = true;
    while (n > 0 && fits) {
        char *room = buf_reserve(code, PIECE);
        fits = room != NULL;
        n = fits ? read(fd, room, PIECE) : 0;
        if (n > 0)
            buf_added(code, (size_t)n);
    }
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return cli_wrong(cli, "%s: %s", name, strerror(why));
    return fits ? 0 : cli_wrong(cli, "%s is too long", name);
}

static void print_execution(const struct carrel_execution *e, bool as_json)
{
    if (as_json) {
        json_t *json = json_pack("{s:s, s:s, s:o, s:s?, s:I}", "stdout", e->out, "stderr", e->err,
                                 "results", json_loads(e->results, 0, NULL), "text", e->text,
                                 "executionCount", (json_int_t)e->count);
        if (e->error_name)
            json_object_set_new(json, "error",
                                json_pack("{s:s, s:s, s:s}", "name", e->error_name, "value",
                                          e->error_value, "traceback", e->traceback));
        cli_print_json(json);
        return;
    }
    if (e->text)
        printf("%s\n", e->text);
    if (e->error_name)
        fprintf(stderr, "%s\n", e->traceback[0] ? e->traceback : e->error_name);
}

static int run(struct cli *cli, const char *code, const struct carrel_pair *envs)
{
    bool json = cli_flag(cli, "json");
    struct carrel_execution execution;
    const struct carrel_code_options options = {
        .language = cli_value(cli, "language"),
        .envs = envs,
        .on_event = json ? NULL : on_event,
    };
    struct carrel_call call = cli->call;
    call.timeout_ms = -1; /* code may be silent for as long as it likes */
    int rc = cli_sandbox(cli, cli_operand(cli, 0));
    if (rc == 0)
        rc = carrel_run_code(cli->sandbox, code, &options, &call, &execution, &cli->err);
    if (rc < 0)
        return rc;
    print_execution(&execution, json);
    rc = execution.error_name != NULL;
    carrel_execution_done(&execution);
    return rc;
}

int use_run(struct cli *cli)
{
    struct carrel_pair *envs = NULL;
    struct buf file;
    const char *code = cli_value(cli, "code"), *name = cli_operand(cli, 1);
    if (code && name)
        return cli_wrong(cli, "-c and a file: which of them?");
    int rc = cli_pairs(cli, "env", &envs);
    buf_init(&file, CODE_MAX);
    if (rc == 0 && !code && (rc = read_code(cli, name ? name : "-", &file)) == 0) {
        code = buf_cstr(&file);
        if (!code || strlen(code) != buf_len(&file))
            rc = cli_wrong(cli, "the code has a NUL in it, or is too long");
    }
    if (rc == 0)
        rc = run(cli, code, envs);
    cli_pairs_free(envs);
    buf_done(&file);
    return rc;
}
