/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to processes: input, size, signals; and the list of them. */
#include <signal.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "client/call.h"
#include "client/fields.h"
#include "client/process_input.h"

enum { INPUT_PIECE = 1 << 20 }; /* of one message; the sandbox takes 4 MiB with base64 and all */

static json_t *selector(unsigned pid)
{
    return json_pack("{s:I}", "pid", (json_int_t)pid);
}

static int write_piece(struct carrel_sandbox *sandbox, unsigned pid, bool terminal, const char *p,
                       size_t n, const struct carrel_call *call, struct carrel_error *err)
{
    _cleanup_free_ char *coded = xmalloc(BASE64_SIZE(n));
    size_t len = base64_encode(p, n, coded);
    json_t *message = json_pack("{s:o, s:{s:s%}}", "process", selector(pid), "input",
                                terminal ? "pty" : "stdin", coded, len);
    return call_agent(sandbox, "process.Process/SendInput", message, call, NULL, err);
}

int process_input_write(struct carrel_sandbox *sandbox, unsigned pid, bool terminal, const void *p,
                        size_t n, const struct carrel_call *call, struct carrel_error *err)
{
    const char *from = p;
    while (n > 0) {
        size_t piece = n < INPUT_PIECE ? n : INPUT_PIECE;
        int rc = write_piece(sandbox, pid, terminal, from, piece, call, err);
        if (rc < 0)
            return rc;
        from += piece;
        n -= piece;
    }
    return 0;
}

int process_input_close(struct carrel_sandbox *sandbox, unsigned pid,
                        const struct carrel_call *call, struct carrel_error *err)
{
    return call_agent(sandbox, "process.Process/CloseStdin",
                      json_pack("{s:o}", "process", selector(pid)), call, NULL, err);
}

int process_input_resize(struct carrel_sandbox *sandbox, unsigned pid, unsigned columns,
                         unsigned rows, const struct carrel_call *call, struct carrel_error *err)
{
    json_t *message = json_pack("{s:o, s:{s:{s:I, s:I}}}", "process", selector(pid), "pty", "size",
                                "cols", (json_int_t)columns, "rows", (json_int_t)rows);
    return call_agent(sandbox, "process.Process/Update", message, call, NULL, err);
}

/* Two have names on the wire; the rest are carrel's own (docs/wire.md) and go by number. */
static json_t *signal_value(int number)
{
    return number == SIGKILL   ? json_string("SIGNAL_SIGKILL")
           : number == SIGTERM ? json_string("SIGNAL_SIGTERM")
                               : json_integer(number);
}

int carrel_sandbox_signal(struct carrel_sandbox *sandbox, unsigned pid, int number, bool group,
                          const struct carrel_call *call, struct carrel_error *err)
{
    json_t *message =
        json_pack("{s:o, s:o}", "process", selector(pid), "signal", signal_value(number));
    if (group)
        json_object_set_new(message, "group", json_true());
    return call_agent(sandbox, "process.Process/SendSignal", message, call, NULL, err);
}

/* ---- the list ---- */

struct memory {
    json_t *answer;
    struct carrel_process_info items[];
};

static const char **take_argv(const json_t *config)
{
    const json_t *args = json_object_get(config, "args");
    size_t n = json_array_size(args);
    const char **argv = xcalloc(n + 2, sizeof *argv);
    argv[0] = fields_text(config, "cmd");
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(args, i));
        argv[i + 1] = text ? text : "";
    }
    return argv;
}

int carrel_process_list(struct carrel_sandbox *sandbox, const struct carrel_call *call,
                        struct carrel_process_list *ret, struct carrel_error *err)
{
    json_t *answer = NULL;
    int rc = call_agent(sandbox, "process.Process/List", json_object(), call, &answer, err);
    if (rc < 0)
        return rc;
    const json_t *processes = json_object_get(answer, "processes");
    size_t n = json_array_size(processes);
    struct memory *memory = xmalloc(sizeof *memory + n * sizeof *memory->items);
    memory->answer = answer;
    for (size_t i = 0; i < n; i++) {
        const json_t *process = json_array_get(processes, i);
        const json_t *config = json_object_get(process, "config");
        memory->items[i] = (struct carrel_process_info){
            .pid = (unsigned)fields_integer(process, "pid"),
            .tag = fields_text(process, "tag"),
            .argv = take_argv(config),
            .cwd = fields_text(config, "cwd"),
        };
    }
    *ret = (struct carrel_process_list){memory->items, n, memory};
    return 0;
}

void carrel_process_list_done(struct carrel_process_list *list)
{
    struct memory *memory = list->memory;
    for (size_t i = 0; i < list->count; i++)
        free((void *)memory->items[i].argv);
    if (memory)
        json_decref(memory->answer);
    free(memory);
    *list = (struct carrel_process_list){0};
}
