/* SPDX-License-Identifier: Apache-2.0 */
/* `carrel create --dry-run`: the plan of a sandbox, without a server and without making anything. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "box/instance.h"
#include "box/plan.h"
#include "cli/command.h"
#include "server/config.h"
#include "server/sandbox_record.h"
#include "server/template.h"

enum { TEXT_MAX = 64 * 1024 };

struct request {
    const char *id;
    const char *template_name;
    bool dry_run, json, offline;
};

/* Takes our own options out of argv; the rest is the server's. How many are left, or -1. */
static int take_options(int argc, char **argv, struct request *r)
{
    int left = 0;
    for (int i = 1; i < argc; i++) {
        const char **text = strcmp(argv[i], "--id") == 0         ? &r->id
                            : strcmp(argv[i], "--template") == 0 ? &r->template_name
                                                                 : NULL;
        bool *flag = strcmp(argv[i], "--dry-run") == 0       ? &r->dry_run
                     : strcmp(argv[i], "--json") == 0        ? &r->json
                     : strcmp(argv[i], "--no-internet") == 0 ? &r->offline
                                                             : NULL;
        if (text && i + 1 == argc)
            return -1;
        if (text)
            *text = argv[++i];
        else if (flag)
            *flag = true;
        else
            argv[left++] = argv[i];
    }
    return left;
}

static int plan(const struct config *config, const struct request *r, struct box_plan *ret,
                struct err *err)
{
    struct template template;
    struct rlimit files;
    int rc = template_load(config->templates, r->template_name, &template, err);
    if (rc < 0)
        return rc;
    struct launcher_limits limits = sandbox_record_limits(config, &template);
    template_done(&template);
    getrlimit(RLIMIT_NOFILE, &files);
    const struct box_layout layout = {
        .state_dir = config->state,
        .disk_name = config->disk_backend, /* what it comes to, only a server tries */
        .run_dir = config->run,
        .templates_dir = config->templates,
        .cgroup_parent = "carrel",
        .instance = instance_find(INSTANCE_DIR, config->state),
        .proc_masks = box_proc_masks(),
        .nofile_max = files.rlim_max > UINT32_MAX ? UINT32_MAX : (uint32_t)files.rlim_max,
    };
    const struct box_spec spec = {
        .id = r->id,
        .template_name = r->template_name,
        .limits = {limits.memory_bytes, limits.cpu_millis, limits.pids, limits.disk_bytes},
        .allow_internet = !r->offline,
    };
    return box_plan_make(&layout, &spec, 0, ret, err);
}

static int print(const struct box_plan *plan, bool json, struct err *err)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    int rc = json ? box_plan_print_json(plan, &text) : box_plan_print(plan, &text);
    if (rc == 0 && fwrite(buf_ptr(&text), 1, buf_len(&text), stdout) != buf_len(&text))
        rc = -1;
    buf_done(&text);
    return rc < 0 ? err_set(err, ERR_INTERNAL, 0, "the plan cannot be written") : 0;
}

static void help(void)
{
    printf(
        "usage: carrel create --dry-run [--json] [--template NAME] [--id ID] [--no-internet]\n"
        "                     [option of `carrel serve`]…\n\nPrints what a sandbox would be, and "
        "in which steps it would be made, without making\nanything: its directories, ids, limits, "
        "mounts. Needs no running server. The slot, and\nwhat follows from it, is that of the "
        "first sandbox of a server.\n");
}

int command_dry_run(int argc, char **argv)
{
    struct request r = {.id = "idryrun", .template_name = "base"};
    struct config config = {0};
    struct err err;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        help();
        return 0;
    }
    _cleanup_free_ struct box_plan *ret = xcalloc(1, sizeof *ret);
    int left = take_options(argc, argv, &r);
    int rc = left < 0 ? err_set(&err, ERR_INVALID, 0, "a value is missing") : 0;
    if (rc == 0 && !r.dry_run)
        rc = err_set(&err, ERR_UNIMPLEMENTED, 0,
                     "only --dry-run is there; use an E2B SDK to "
                     "create sandboxes");
    if (rc == 0)
        rc = config_load(&config, left, argv, &err);
    if (rc == 0)
        rc = plan(&config, &r, ret, &err);
    if (rc == 0)
        rc = print(ret, r.json, &err);
    config_done(&config);
    if (rc == 0)
        return 0;
    fprintf(stderr, "carrel create: %s\n", err.message);
    return err_exit_status(err.code);
}
