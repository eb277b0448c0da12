/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's loop: beginning and end. */
#include "egress/egress.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"
#include "egress/egress-internal.h"
#include "http/loop.h"

enum { FDS_SPARE = 128, FDS_PER_SESSION = 2, SESSIONS_LIMIT = 100000 };

void egress_session_left(struct egress *egress)
{
    egress->sessions--;
    if (!egress->full || egress->stopping || egress->sessions > egress->sessions_max * 7 / 8)
        return;
    egress->full = false;
    listeners_watch(egress);
}

static unsigned raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 256;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur > FDS_SPARE + (rlim_t)FDS_PER_SESSION * SESSIONS_LIMIT)
        return SESSIONS_LIMIT;
    return limit.rlim_cur > 2 * FDS_SPARE ? (unsigned)(limit.rlim_cur - FDS_SPARE) / FDS_PER_SESSION
                                          : FDS_SPARE / FDS_PER_SESSION;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct egress *egress = handle->data;
    egress->stopping = true;
    uv_stop(&egress->loop);
}

static void open_handles(struct egress *egress)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(&egress->loop, &egress->signals[i]);
        egress->signals[i].data = egress;
        uv_signal_start(&egress->signals[i], on_signal, numbers[i]);
    }
    for (int i = 0; i < EGRESS_SOCKETS; i++)
        egress->listeners[i] = (struct listener){.egress = egress, .fd = -1, .type = i};
}

/* In order, so that leak checkers see nothing. */
static void close_all(struct egress *egress)
{
    link_close(egress);
    listeners_close(egress);
    guests_free(egress->guests);
    for (size_t i = 0; i < ARRAY_SIZE(egress->signals); i++)
        uv_close((uv_handle_t *)&egress->signals[i], NULL);
    uv_run(&egress->loop, UV_RUN_NOWAIT);
    resolver_free(egress->resolver);
    http_loop_done(&egress->loop);
    for (int i = 0; i < 16 && uv_run(&egress->loop, UV_RUN_NOWAIT) != 0; i++)
        ;
    if (uv_loop_close(&egress->loop) != 0)
        log_debug("loop not empty at the end", "sessions=%u", egress->sessions);
}

int egress_main(const struct egress_start *start)
{
    struct egress *egress = xcalloc(1, sizeof *egress);
    if (uv_loop_init(&egress->loop) < 0)
        abort();
    egress->sessions_max = raise_descriptors();
    egress->guests = guests_new();
    egress->resolver = resolver_new(&egress->loop);
    open_handles(egress);
    int rc = link_open(egress, start->listen_fd);
    if (rc < 0)
        log_error("egress not started", "error=\"%s\"", uv_strerror(rc));
    else
        uv_run(&egress->loop, UV_RUN_DEFAULT);
    close_all(egress);
    free(egress);
    return rc < 0 ? 1 : 0;
}
