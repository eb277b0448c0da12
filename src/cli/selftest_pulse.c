/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that asks. */
#include "cli/selftest_pulse.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

enum { PAUSE_MS = 20, TIMEOUT_S = 30 };

struct selftest_pulse {
    pthread_t thread;
    struct api *api;
    const struct api_sandbox *sandbox;
    int stop_fd;
    struct selftest_pulse_result result;
};

static void ask(struct api *api, const struct api_sandbox *sandbox, int64_t *worst, char *error,
                size_t size)
{
    struct err err = {0};
    int64_t ns = 0;
    if (api_health(api, sandbox, &ns, &err) < 0 && !error[0])
        snprintf(error, size, "%s", err.message);
    if (ns > *worst)
        *worst = ns;
}

static void *run(void *arg)
{
    struct selftest_pulse *p = arg;
    struct selftest_pulse_result *r = &p->result;
    struct pollfd stop = {p->stop_fd, POLLIN, 0};
    do {
        ask(p->api, NULL, &r->server_worst_ns, r->server_error, sizeof r->server_error);
        ask(p->api, p->sandbox, &r->agent_worst_ns, r->agent_error, sizeof r->agent_error);
        r->asked++;
        int fd = inotify_init1(IN_CLOEXEC);
        r->inotify_asked++;
        r->inotify_refused += fd < 0 && errno == EMFILE;
        fd_closep(&fd);
    } while (poll(&stop, 1, PAUSE_MS) == 0);
    return NULL;
}

struct selftest_pulse *selftest_pulse_start(const struct api_options *options,
                                            const struct api_sandbox *sandbox, struct err *err)
{
    struct selftest_pulse *p = xcalloc(1, sizeof *p);
    struct api_options own = *options;
    own.timeout_s = TIMEOUT_S;
    p->sandbox = sandbox;
    p->stop_fd = eventfd(0, EFD_CLOEXEC);
    p->api = api_new(&own, err);
    int rc = p->api ? pthread_create(&p->thread, NULL, run, p) : -1;
    if (rc == 0)
        return p;
    if (rc > 0)
        err_os(err, rc, "start a thread");
    api_free(p->api);
    fd_closep(&p->stop_fd);
    free(p);
    return NULL;
}

void selftest_pulse_stop(struct selftest_pulse *pulse, struct selftest_pulse_result *ret)
{
    uint64_t one = 1;
    if (write(pulse->stop_fd, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(pulse->thread, NULL);
    *ret = pulse->result;
    api_free(pulse->api);
    fd_closep(&pulse->stop_fd);
    free(pulse);
}
