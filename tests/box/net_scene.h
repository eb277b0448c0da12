/* SPDX-License-Identifier: Apache-2.0 */
/* The scene of net_test.c: "host" is a namespace in which the sandboxes hang, "world" one that
 * plays all that is behind the host's uplink. The functions assert, from whichever namespace;
 * afterwards the thread is in "host". */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "box/ns/net-internal.h"

enum {
    INSTANCE = 7,
    PATIENCE_MS = 5000,
    PORT = 80,
    UDP_PORT = 7777,
    UPLINK_MTU = 1400,
    INTERNET_SLOT = 1,
    OTHER_SLOT = 2,
    OFFLINE_SLOT = 3,
    FREE_SLOT = 100,
};

#define SERVER       "203.0.113.10"
#define HOST         "192.0.2.2"
#define HOST_PRIVATE "10.66.0.1"
#define RESOLVER     "10.9.9.53"
#define SECOND       "203.0.113.20" /* the same server */
#define OPENED       "10.44.0.1"    /* and again, in a range that the operator has opened */

/* What "world" answers on, and what sandboxes must not reach of it. */
enum { CLOSED_COUNT = 11 };
extern const char *const closed[CLOSED_COUNT];

struct net_scene {
    int machine, host, world; /* namespaces */
    int tcp, udp;             /* servers in world, all addresses */
    int dns_tcp, dns_udp;
    int internet, other, offline; /* sandboxes */
    struct net_host *net;
    struct net_relay relay; /* what open_net says of it */
    unsigned flows_max;
};

extern struct net_scene scene;

/* Nothing but the namespaces, and a handle; for a scene that wants to be made differently. */
void net_scene_frame(void);
/* Makes namespaces, servers and three sandboxes; for cmocka. */
int net_scene_build(void **state);
void open_net(void);   /* as a server does at its start */
void reopen_net(void); /* and when it starts again, */
/* in two steps */
void net_scene_close(uint32_t marks[NET_SLOTS]);
void net_scene_open(const uint32_t marks[NET_SLOTS]);
int new_sandbox(unsigned slot, bool internet);
void load_text(const char *text); /* into nft */

void enter(int netns);
struct in_addr address(const char *text);
struct sockaddr_in socket_address(const char *text, int port);
const char *inside_address(unsigned slot); /* valid until the next call */
void add_address(int netns, const char *link, const char *text, unsigned prefix);

/* Sockets belong to the namespace given, whichever we are in later. They do not block. */
int socket_in(int netns, int type);
int server_in(int netns, int type, int port);
int start_connect(int netns, const char *to, int port);
bool is_connected(int fd, int wait_ms);
void must_wait_for(int fd);
/* The next connection to a server; it must have been made to `to`. */
int accept_as(int server, const char *to);
/* A whole connection, from a namespace to a server that is our own. */
void must_connect(int netns, const char *to, int port, int server);
void must_have_no_connection(int server);
/* Nothing came of it: no connection, no refusal. */
void must_be_idle(int fd);
void send_text(int netns, const char *from, const char *to, int port, const char *text);
/* The next datagram must be this one. */
void must_receive(int server, const char *text);
