/* SPDX-License-Identifier: Apache-2.0 */
/* carrel-probe: tries every property of the isolation from inside and prints one line of JSON for
 * each. Every attempt runs in a child of its own, so that neither a crash nor a kill ends the run.
 * The exit status says only whether the run itself went well. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "probe/probe.h"

const struct probe_group *const probe_groups[] = {
    &probe_namespaces, &probe_ids,     &probe_proc,    &probe_peers,  &probe_files, &probe_devices,
    &probe_calls,      &probe_sockets, &probe_network, &probe_useful, &probe_limits};
const size_t probe_group_count = ARRAY_SIZE(probe_groups);

struct choice {
    const char *groups[ARRAY_SIZE(probe_groups)];
    size_t group_count;
    const char *only; /* one probe */
    struct probe_words serve;
    bool list;
};

static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_field(const char *name, const char *value)
{
    printf("%c\"%s\":", strcmp(name, "name") == 0 ? '{' : ',', name);
    print_text(value);
}

static void print_probe(const struct probe_group *group, const struct probe *probe,
                        const struct probe_report *report)
{
    static const char *const verdicts[] = {"held", "open", "unknown", "skipped"};
    print_field("name", probe->name);
    print_field("group", group->name);
    print_field("row", probe->row);
    print_field("what", probe->what);
    if (report) {
        print_field("verdict", verdicts[report->verdict]);
        print_field("evidence", report->evidence);
    }
    printf("}\n");
    fflush(stdout);
}

static void in_child(const struct probe_group *group, const struct probe *probe,
                     const struct probe_input *input, struct probe_report *report)
{
    alarm(group->seconds);
    probe->run(probe, input, report);
    /* Of many attempts, those that got through are what is to be told. */
    if (report->verdict == PROBE_OPEN && report->open[0])
        memcpy(report->evidence, report->open, sizeof report->evidence);
    _exit(0);
}

static void judge_end(int status, unsigned seconds, struct probe_report *report)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (!WIFSIGNALED(status))
        probe_say(report, PROBE_UNKNOWN, "the probe ended with status %d", WEXITSTATUS(status));
    else if (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV)
        probe_say(report, PROBE_HELD, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
    else if (WTERMSIG(status) == SIGALRM)
        probe_say(report, PROBE_UNKNOWN, "no end after %u seconds", seconds);
    else
        probe_say(report, PROBE_UNKNOWN, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
}

static void run_one(const struct probe_group *group, const struct probe *probe,
                    const struct probe_input *input, struct probe_report *report)
{
    int status;
    memset(report, 0, sizeof *report);
    pid_t pid = fork();
    if (pid == 0)
        in_child(group, probe, input, report);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        probe_say(report, PROBE_UNKNOWN, "fork: %s", probe_errno(errno));
    else
        judge_end(status, group->seconds, report);
    print_probe(group, probe, report);
}

static bool chosen(const struct choice *choice, const struct probe_group *group)
{
    if (choice->group_count == 0)
        return choice->only || choice->list || group != &probe_limits;
    for (size_t i = 0; i < choice->group_count; i++)
        if (strcmp(choice->groups[i], group->name) == 0)
            return true;
    return false;
}

static int run_all(const struct choice *choice, const struct probe_input *input)
{
    /* Shared memory and no pipe: the list of open descriptors is one of the things looked at. */
    struct probe_report *report =
        mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED) {
        perror("carrel-probe: mmap");
        return 1;
    }
    for (size_t g = 0; g < probe_group_count; g++) {
        const struct probe_group *group = probe_groups[g];
        for (size_t i = 0; chosen(choice, group) && i < group->count; i++) {
            const struct probe *probe = &group->probes[i];
            if (choice->only && strcmp(choice->only, probe->name) != 0)
                continue;
            if (choice->list)
                print_probe(group, probe, NULL);
            else
                run_one(group, probe, input, report);
        }
    }
    return 0;
}

static bool add_word(struct probe_words *words, const char *word)
{
    if (words->count == PROBE_WORDS_MAX)
        return false;
    words->word[words->count++] = word;
    return true;
}

static bool set_number(const char *text, uint64_t max, uint64_t *ret)
{
    return str_to_u64(str_from(text), max, ret) == 0;
}

/* --name value, all of them; false for what is unknown or makes no sense. */
static bool set_option(const char *name, const char *value, struct choice *choice,
                       struct probe_input *in)
{
    const struct {
        const char *name;
        const char **text;
        struct probe_words *words;
    } options[] = {
        {"--host-name", &in->host_name, NULL}, {"--host-abstract", &in->host_abstract, NULL},
        {"--reachable", &in->reachable, NULL}, {"--only", &choice->only, NULL},
        {"--secret", NULL, &in->secrets},      {"--absent", NULL, &in->absent},
        {"--closed", NULL, &in->closed},       {"--peer", NULL, &in->peers},
        {"--resolver", NULL, &in->resolvers},  {"--serve", NULL, &choice->serve},
        {"--spoof-to", NULL, &in->spoof}};
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        if (options[i].text)
            *options[i].text = value;
        return options[i].text || add_word(options[i].words, value);
    }
    uint64_t number;
    if (strcmp(name, "--group") == 0 && choice->group_count < ARRAY_SIZE(choice->groups)) {
        choice->groups[choice->group_count++] = value;
        return true;
    }
    if (!set_number(value, INT64_MAX / 4, &number))
        return false;
    if (strcmp(name, "--memory-bytes") == 0)
        in->memory_bytes = number;
    else if (strcmp(name, "--disk-bytes") == 0)
        in->disk_bytes = number;
    else if (strcmp(name, "--pids") == 0 && number < 1 << 20)
        in->pids = (uint32_t)number;
    else if (strcmp(name, "--cpu-millis") == 0 && number < 1 << 20)
        in->cpu_millis = (uint32_t)number;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct probe_input input = {0};
    struct choice choice = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            choice.list = true;
        } else if (i + 1 < argc && set_option(argv[i], argv[i + 1], &choice, &input)) {
            i++;
        } else {
            fprintf(
                stderr,
                "usage: carrel-probe [--list] [--serve ADDRESS:PORT] [--group NAME]... "
                "[--only PROBE] "
                "[--host-name, --host-abstract, --secret, --absent, --closed, --peer, --resolver, "
                "--spoof-to, --reachable, --memory-bytes, --disk-bytes, --pids, "
                "--cpu-millis VALUE]...\n");
            return 2;
        }
    }
    signal(SIGPIPE, SIG_DFL);
    return choice.serve.count ? probe_serve(&choice.serve) : run_all(&choice, &input);
}
