/* SPDX-License-Identifier: Apache-2.0 */
/* carrel cp: files and directories into a sandbox and out of it. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/path.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/session.h"

enum { BAR = 24, BAR_LINE = 52 /* of a line, but for the name */, TELL_MS = 100 };

struct place {
    char *sandbox; /* NULL: here */
    const char *path;
};

/* "name:path" is in a sandbox; a slash before the colon says that it is a local name. */
static struct place take_place(const char *text)
{
    const char *colon = strchr(text, ':'), *slash = strchr(text, '/');
    if (!colon || colon == text || (slash && slash < colon))
        return (struct place){NULL, text};
    return (struct place){xstrndup(text, (size_t)(colon - text)), colon + 1};
}

/* ---- the progress bar ---- */

struct bar {
    const char *name;
    unsigned room; /* for the name, so that all fits on a line */
    int64_t begun_ns, told_ns;
    bool shown;
};

static void show(void *arg, int64_t bytes, int64_t files, int64_t total)
{
    struct bar *bar = arg;
    int64_t now = clock_mono_ns();
    char done[16], speed[16];
    if (now - bar->told_ns < TELL_MS * CLOCK_MS)
        return;
    bar->told_ns = now;
    bar->shown = true;
    cli_short_size(bytes, done);
    cli_short_size((int64_t)((double)bytes / ((double)(now - bar->begun_ns) / CLOCK_S)), speed);
    _cleanup_free_ char *name = xstrndup(bar->name, strnlen(bar->name, bar->room));
    name[utf8_whole(str_from(name))] = '\0';
    fputs("\r\033[K", stderr);
    cli_print_text(stderr, name);
    if (total > 0) {
        int filled = (int)((double)bytes / (double)total * BAR);
        fprintf(stderr, "  [%.*s%*s]", filled < BAR ? filled : BAR,
                "========================", filled < BAR ? BAR - filled : 0, "");
    } else {
        fprintf(stderr, "  %lld files", (long long)files);
    }
    fprintf(stderr, "  %s  %s/s", done, speed);
}

/* ---- one copy ---- */

static int copy(struct cli *cli, const struct place *from, const char *to, bool up)
{
    struct bar bar = {.name = path_base(str_from(from->path)).p, .begun_ns = clock_mono_ns()};
    unsigned columns, rows;
    session_size(&columns, &rows);
    bar.room = columns > BAR_LINE + 1 ? columns - BAR_LINE : 1;
    bar.told_ns = bar.begun_ns;
    const struct carrel_transfer transfer = {.progress = show, .arg = &bar};
    bool quiet = cli_flag(cli, "quiet") || !isatty(STDERR_FILENO);
    const struct carrel_transfer *told = quiet ? NULL : &transfer;
    int rc = up ? carrel_upload(cli->sandbox, from->path, to, told, &cli->call, &cli->err)
                : carrel_download(cli->sandbox, from->path, to, told, &cli->call, &cli->err);
    if (bar.shown)
        fputs("\r\033[K", stderr);
    return rc;
}

static bool ends_in_slash(const char *path)
{
    size_t n = strlen(path);
    return n == 0 || path[n - 1] == '/' || strcmp(path, ".") == 0 || strcmp(path, "..") == 0 ||
           (n > 2 && strcmp(path + n - 2, "/.") == 0);
}

/* Whether copies go into `to` rather than become it. A negative number is an error. */
static int goes_into(struct cli *cli, const struct place *to)
{
    struct carrel_entry_list list;
    struct stat st;
    if (ends_in_slash(to->path))
        return 1;
    if (!to->sandbox)
        return stat(to->path, &st) == 0 && S_ISDIR(st.st_mode);
    int rc = carrel_file_stat(cli->sandbox, to->path, &cli->call, &list, &cli->err);
    if (rc == -CARREL_NOT_FOUND || rc == -CARREL_INVALID)
        return 0;
    if (rc < 0)
        return rc;
    rc = list.items[0].type == CARREL_FILE_DIRECTORY;
    carrel_entry_list_done(&list);
    return rc;
}

static int copy_to(struct cli *cli, const struct place *from, const struct place *to, bool into)
{
    struct str base = path_base(str_from(from->path));
    bool up = to->sandbox != NULL;
    if (!into)
        return copy(cli, from, to->path, up);
    /* `cp dir/. to` is what is in dir, as with cp. */
    bool content = str_eqz(base, ".") || str_eqz(base, "..") || str_eqz(base, "/");
    const char *dir = *to->path ? to->path : up ? "~" : ".";
    _cleanup_free_ char *name = xstrndup(base.p, base.len);
    _cleanup_free_ char *target = content ? xstrdup(dir) : path_join(dir, name);
    return copy(cli, from, target, up);
}

static int copy_all(struct cli *cli, struct place *places, size_t n)
{
    struct place *to = &places[n - 1];
    const char *sandbox = NULL;
    for (size_t i = 0; i < n; i++)
        if (places[i].sandbox && sandbox && strcmp(sandbox, places[i].sandbox) != 0)
            return cli_wrong(cli, "all that is in a sandbox must be in one");
        else if (places[i].sandbox)
            sandbox = places[i].sandbox;
    for (size_t i = 0; i + 1 < n; i++)
        if ((places[i].sandbox != NULL) == (to->sandbox != NULL))
            return cli_wrong(cli, "one side must be SANDBOX:PATH, the other one a local path");
    int rc = cli_sandbox(cli, sandbox);
    int into = rc < 0 ? rc : goes_into(cli, to);
    if (into >= 0 && !into && n > 2)
        return cli_wrong(cli, "%s is no directory", to->path);
    rc = into < 0 ? into : 0;
    for (size_t i = 0; rc == 0 && i + 1 < n; i++)
        rc = copy_to(cli, &places[i], to, into);
    return rc;
}

int use_cp(struct cli *cli)
{
    size_t n = cli->args.operand_count;
    struct place *places = xcalloc(n, sizeof *places);
    for (size_t i = 0; i < n; i++)
        places[i] = take_place(cli_operand(cli, i));
    int rc = copy_all(cli, places, n);
    for (size_t i = 0; i < n; i++)
        free(places[i].sandbox);
    free(places);
    return rc;
}
