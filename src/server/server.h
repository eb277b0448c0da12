/* SPDX-License-Identifier: Apache-2.0 */
/* The server process: faces the network, holds no privilege. API, routing, proxy, life cycle. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#include "base/err.h"
#include "server/admission.h"
#include "server/config.h"
#include "server/stats.h"

struct http_edge;
struct http_server;
struct key_ring;
struct launcher_link;
struct limit;
struct pool;
struct sampler;
struct sandbox_list;
struct snapshot_list;
struct store;
struct turns;

/* What all parts of the server share. One per process, but nothing relies on that. */
struct server {
    const struct config *config;
    uv_loop_t loop;
    struct store *store;
    struct key_ring *keys;
    struct launcher_link *link;
    struct sandbox_list *sandboxes;
    struct snapshot_list *snapshots;
    struct pool *pool;
    struct sampler *sampler;
    struct stats stats;
    struct limit *limit; /* NULL: none */
    struct turns *turns;
    struct admission_room room; /* as seen last, at room_looked (monotonic) */
    int64_t room_looked;
    struct http_server *http;
    struct http_edge *edge;      /* NULL without TLS */
    struct http_server *metrics; /* NULL: nobody reads them */
    int listen_fd; /* until http takes it */
    int ready_fd;  /* -1: none, or told already */
    bool announce; /* print the export lines once ready */
    bool ready;    /* adopted what was running, serving */
    bool stopping;
    bool hands_over; /* to another server: sandboxes go on, and it waits */
    bool kills;      /* all sandboxes, while it stops */
    uint64_t stop_waited; /* ms */
    bool ca_in_force;     /* sandboxes get a CA bundle */
    char *launcher_path;
    char domain[256];      /* of sandbox host names, as the API reports it */
    char url[300];         /* scheme://host:port as a client on this machine reaches it */
    uint64_t disk_total;   /* bytes, reported when sandboxes have no disk limit */
    uint64_t memory_total; /* bytes of the host, the same */
    uv_signal_t signals[3];
    uv_timer_t stop_timer;
    uv_timer_t sweep_timer; /* ends proxied exchanges that rest too long */
};

struct server_start {
    int listen_fd; /* bound and listening, taken over */
    int ready_fd;  /* a byte is written here once requests are served; -1: nobody cares */
    bool announce; /* print what clients need to know, once */
};

/* Serves until SIGTERM or SIGINT, then ends gracefully; a second signal ends it at once. The result
 * is the process's exit status. */
int server_main(const struct config *config, const struct server_start *start);

/* What a client on this machine must use to reach a listening socket: "http://127.0.0.1:3000". Names
 * a loopback address where the socket listens on all. 0 or -errno. */
int server_url(int listen_fd, char *ret, size_t size);
/* Port of a listening socket. */
int server_port(int listen_fd);
/* <state>/server, in a fresh allocation. */
char *server_state_dir(const struct config *config);
/* The three lines a user pastes. Without a key only the two URLs. */
void server_print_exports(FILE *out, const char *key, const char *url);
/* The same for a server with TLS and a domain: the SDKs make all URLs of it. */
void server_print_domain(FILE *out, const char *key, const char *domain);
