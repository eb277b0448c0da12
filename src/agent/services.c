/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a sandbox's services, and starting them again. */
#include "agent/services.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/env.h"
#include "agent/spawn.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    AGAIN_FIRST_MS = 50,
    AGAIN_MOST_MS = 5000,
    AGAIN_QUIET_MS = 10000, /* who ran for so long did not fail at once */
};

struct service {
    struct services *all;
    const struct agent_service *is;
    int pidfd;
    uv_poll_t *poll; /* of pidfd */
    uv_timer_t again;
    int64_t began;
    uint64_t delay_ms;
};

struct services {
    uv_loop_t *loop;
    const struct agent_config *config;
    int oom_fd;
    size_t count;
    struct service list[];
};

static void start(struct service *s);

static void on_again(uv_timer_t *timer)
{
    start(timer->data);
}

static void start_later(struct service *s)
{
    if (clock_mono_ns() - s->began > AGAIN_QUIET_MS * CLOCK_MS)
        s->delay_ms = AGAIN_FIRST_MS;
    uv_timer_start(&s->again, on_again, s->delay_ms, 0);
    s->delay_ms = s->delay_ms * 2 < AGAIN_MOST_MS ? s->delay_ms * 2 : AGAIN_MOST_MS;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void on_end(uv_poll_t *poll, int status, int events)
{
    struct service *s = poll->data;
    siginfo_t info = {0};
    waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG);
    uv_poll_stop(poll);
    uv_close((uv_handle_t *)poll, free_handle);
    fd_closep(&s->pidfd);
    log_warning("service ended", "name=%s code=%d status=%d", s->is->argv[0], info.si_code,
                info.si_status);
    start_later(s);
}

static int spawn(struct service *s, struct spawned *ret, struct err *err)
{
    struct passwd_user user = {0};
    const char *name = s->is->user ? s->is->user : "root";
    int rc = passwd_lookup("", str_from(name), &user);
    if (rc < 0)
        return err_os(err, -rc, "look up user '%s'", name);
    char **env = env_build(s->all->config, &user, NULL, 0);
    const struct spawn_request request = {.argv = s->is->argv,
                                          .envp = env,
                                          .cwd = "/",
                                          .user = &user,
                                          .stdin_from = s->all->oom_fd > 0 ? s->all->oom_fd : 0};
    rc = spawn_process(&request, ret, err);
    env_free(env);
    passwd_user_done(&user);
    return rc;
}

static void start(struct service *s)
{
    struct spawned process;
    struct err err;
    s->began = clock_mono_ns();
    if (spawn(s, &process, &err) < 0) {
        log_warning("service not started", "name=%s error=\"%s\"", s->is->argv[0], err.message);
        start_later(s);
        return;
    }
    /* What it has to say it writes to a file of its own. */
    close(process.out);
    close(process.err);
    s->pidfd = process.pidfd;
    s->poll = xmalloc(sizeof *s->poll);
    s->poll->data = s;
    uv_poll_init(s->all->loop, s->poll, s->pidfd);
    uv_poll_start(s->poll, UV_READABLE, on_end);
}

void services_configure(struct services *services)
{
    json_t *envs = json_object();
    if (!services || services->count == 0) {
        json_decref(envs);
        return;
    }
    for (size_t i = 0; i < services->config->env_count; i++)
        json_object_set_new(envs, services->config->envs[i].name,
                            json_string(services->config->envs[i].value));
    _cleanup_free_ char *text = json_dumps(envs, JSON_COMPACT);
    json_decref(envs);
    if (mkdir("/run/carrel", 0700) < 0 && errno != EEXIST)
        log_warning("no directory for services", "errno=%d", errno);
    int rc = text ? fd_replace_file(AT_FDCWD, SERVICES_ENVS, text, strlen(text), 0600) : -ENOMEM;
    if (rc < 0)
        log_warning("variables not written", "errno=%d", -rc);
}

struct services *services_start(uv_loop_t *loop, const struct agent_config *config, int oom_fd)
{
    struct services *all = xcalloc(1, sizeof *all + config->service_count * sizeof *all->list);
    all->loop = loop;
    all->config = config;
    all->oom_fd = oom_fd;
    all->count = config->service_count;
    services_configure(all);
    for (size_t i = 0; i < all->count; i++) {
        struct service *s = &all->list[i];
        /* Kept: a later configuration frees the list that this one is in. */
        *s = (struct service){.all = all,
                              .is = agent_service_copy(&config->services[i]),
                              .pidfd = -1,
                              .delay_ms = AGAIN_FIRST_MS};
        uv_timer_init(loop, &s->again);
        s->again.data = s;
        start(s);
    }
    return all;
}
