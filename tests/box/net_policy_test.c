/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of single sandboxes with real packets, as root, in the scene of net_test.c: what each may
 * reach, at once and while connections are open, over restarts, and after its address has gone to
 * another one. SERVER and SECOND are two addresses of one server. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/ns/nft_change.h"
#include "net_scene.h"

enum { SLOT = 11, OTHER = 12, LATE = 13, FLOWS_MAX = 64, ANSWERING_PORT = 7778 };

static int sandbox, other;
static int relay_https, relay_http, relay_dns;
static int rules; /* netfilter socket on the host */

/* ---- tools ---- */

static void add_range(struct box_range *ranges, uint32_t *count, const char *text, unsigned prefix)
{
    uint32_t first = ntohl(address(text).s_addr);
    uint32_t size = prefix == 0 ? UINT32_MAX : (UINT32_C(1) << (32 - prefix)) - 1;
    ranges[(*count)++] = (struct box_range){first, first + size};
}

static void allow(struct box_network *n, const char *text, unsigned prefix)
{
    add_range(n->allow, &n->allow_count, text, prefix);
}

static void deny(struct box_network *n, const char *text, unsigned prefix)
{
    add_range(n->deny, &n->deny_count, text, prefix);
}

static void set_policy(struct box_network *n)
{
    struct err err;
    if (n)
        box_network_settle(n);
    if (net_host_policy(scene.net, SLOT, n, false, &err) < 0)
        fail_msg("%s", err.message);
}

/* How a connection that the policy forbids ends: at once. */
static void must_be_refused(int netns, const char *to, int port)
{
    int fd = start_connect(netns, to, port), error = 0;
    socklen_t len = sizeof(error);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
    assert_int_equal(error, ECONNREFUSED);
    close(fd);
}

static void nothing_more(int server)
{
    char rest[8];
    assert_int_equal(recv(server, rest, sizeof(rest), MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* Datagrams that must not arrive were sent before this one, which must. */
static void must_arrive_first(int netns, const char *to)
{
    send_text(netns, NULL, to, UDP_PORT, "first");
    must_receive(scene.udp, "first");
    nothing_more(scene.udp);
}

static int connected(int netns, const char *to, int *ret_server)
{
    int fd = start_connect(netns, to, PORT);
    assert_true(is_connected(fd, PATIENCE_MS));
    *ret_server = accept_as(scene.tcp, to);
    return fd;
}

static void must_pass(int from, int to)
{
    char got[8] = "";
    assert_int_equal(write(from, "data", 4), 4);
    must_wait_for(to);
    assert_int_equal(read(to, got, sizeof(got)), 4);
    assert_string_equal(got, "data");
}

static void must_be_reset(int fd)
{
    char byte;
    must_wait_for(fd);
    assert_int_equal(read(fd, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
}

/* ---- what a policy says ---- */

static void without_policy_all_is_open(void **state)
{
    must_connect(sandbox, SERVER, PORT, scene.tcp);
    must_connect(sandbox, SECOND, PORT, scene.tcp);
    must_connect(sandbox, RESOLVER, 53, scene.dns_tcp);
}

static void the_operator_opens_a_range(void **state)
{
    must_connect(sandbox, OPENED, PORT, scene.tcp);
    send_text(sandbox, NULL, "10.1.2.3", UDP_PORT, "closed");
    must_arrive_first(sandbox, SERVER);
}

static void deny_all_leaves_nothing(void **state)
{
    struct box_network n = {0};
    deny(&n, "0.0.0.0", 0);
    set_policy(&n);
    must_be_refused(sandbox, SERVER, PORT);
    must_be_refused(sandbox, OPENED, PORT);
    must_be_refused(sandbox, SERVER, 443);
    send_text(sandbox, NULL, SERVER, UDP_PORT, "denied");
    send_text(sandbox, NULL, RESOLVER, 53, "denied");
    send_text(sandbox, NULL, HOST, 53, "denied");
    must_arrive_first(other, SERVER); /* whom it is not about */
    send_text(other, NULL, RESOLVER, 53, "question");
    must_receive(scene.dns_udp, "question");
    nothing_more(scene.dns_udp);
    set_policy(NULL);
    must_connect(sandbox, SERVER, PORT, scene.tcp);
}

static void two_halves_are_all(void **state)
{
    struct box_network n = {0};
    deny(&n, "128.0.0.0", 1);
    deny(&n, "0.0.0.0", 1);
    box_network_settle(&n);
    assert_true(n.deny_all);
}

static void deny_a_range(void **state)
{
    struct box_network n = {0};
    deny(&n, "203.0.113.16", 28);
    deny(&n, "203.0.113.20", 32); /* within the first: merged */
    deny(&n, "198.51.100.0", 24);
    set_policy(&n);
    must_be_refused(sandbox, SECOND, PORT);
    must_connect(sandbox, SERVER, PORT, scene.tcp);
    must_connect(sandbox, RESOLVER, 53, scene.dns_tcp);
    must_connect(other, SECOND, PORT, scene.tcp);
}

static void allow_wins(void **state)
{
    struct box_network n = {0};
    deny(&n, "0.0.0.0", 0);
    allow(&n, SECOND, 32);
    set_policy(&n);
    must_be_refused(sandbox, SERVER, PORT);
    must_connect(sandbox, SECOND, PORT, scene.tcp);
    struct box_network listed = {0};
    deny(&listed, "203.0.113.0", 24);
    allow(&listed, SERVER, 32);
    set_policy(&listed);
    must_be_refused(sandbox, SECOND, PORT);
    must_connect(sandbox, SERVER, PORT, scene.tcp);
}

static void allow_does_not_open_what_is_closed(void **state)
{
    struct box_network n = {0};
    deny(&n, "0.0.0.0", 0);
    allow(&n, "0.0.0.0", 0);
    set_policy(&n);
    for (size_t i = 0; i < CLOSED_COUNT; i++)
        send_text(sandbox, NULL, closed[i], UDP_PORT, "closed");
    send_text(sandbox, NULL, HOST, UDP_PORT, "closed");
    must_arrive_first(sandbox, SERVER);
}

/* ---- changes ---- */

static void connections_follow_the_policy(void **state)
{
    int kept_server, cut_server;
    set_policy(NULL);
    int kept = connected(sandbox, SERVER, &kept_server);
    int cut = connected(sandbox, SECOND, &cut_server);
    struct box_network n = {0};
    deny(&n, "0.0.0.0", 0);
    allow(&n, SERVER, 32);
    set_policy(&n);
    must_pass(kept, kept_server);
    must_pass(kept_server, kept);
    /* What is sent to it goes nowhere, even before it has said a word; and what it says is
     * refused. */
    assert_int_equal(write(cut_server, "late", 4), 4);
    must_be_reset(cut_server);
    struct pollfd silent = {.fd = cut, .events = POLLIN};
    assert_int_equal(poll(&silent, 1, 0), 0);
    assert_int_equal(write(cut, "x", 1), 1);
    must_be_reset(cut);
    close(cut);
    close(cut_server);
    close(kept);
    close(kept_server);
}

static void a_restart_keeps_policies(void **state)
{
    struct box_network n = {0};
    int server;
    deny(&n, "0.0.0.0", 0);
    allow(&n, SERVER, 32);
    set_policy(&n);
    int fd = connected(sandbox, SERVER, &server);
    uint32_t marks[] = {net_host_mark(scene.net, SLOT), net_host_mark(scene.net, OTHER)};
    net_host_close(scene.net, false);
    must_be_refused(sandbox, SECOND, PORT); /* while nobody is there */
    struct net_options options = {.instance = INSTANCE, .relay = scene.relay};
    struct err err;
    assert_int_equal(net_host_open(&options, &scene.net, &err), 0);
    net_host_adopt(scene.net, SLOT, marks[0], &n);
    net_host_adopt(scene.net, OTHER, marks[1], NULL);
    assert_int_equal(net_host_start(scene.net, &err), 0);
    must_pass(server, fd);
    must_pass(fd, server);
    must_be_refused(sandbox, SECOND, PORT);
    close(fd);
    close(server);
    reopen_net(); /* with all that the scene says; policies are ours to put back */
    set_policy(NULL);
}

static void rules_taken_away_come_back(void **state)
{
    int64_t deadline = clock_mono_ns() + PATIENCE_MS * CLOCK_MS;
    load_text("flush ruleset\n");
    while (!nft_rules_exist(rules, INSTANCE))
        assert_true(clock_mono_ns() < deadline);
    /* From its first moment on it closes; what it lets out comes a little later. */
    send_text(sandbox, NULL, "10.1.2.3", UDP_PORT, "closed");
    int fd = start_connect(sandbox, SERVER, PORT);
    assert_true(is_connected(fd, PATIENCE_MS));
    close(accept_as(scene.tcp, SERVER));
    close(fd);
    nothing_more(scene.udp);
    load_text("flush ruleset\n"); /* and whoever comes first makes them */
    struct box_network n = {0};
    deny(&n, SECOND, 32);
    set_policy(&n);
    must_be_refused(sandbox, SECOND, PORT);
    send_text(sandbox, NULL, "10.1.2.3", UDP_PORT, "closed");
    must_arrive_first(sandbox, SERVER);
    set_policy(NULL);
}

static void a_later_link(void **state)
{
    int netns = new_sandbox(LATE, false);
    struct err err;
    assert_int_equal(net_host_mark(scene.net, LATE), 0);
    if (net_host_connect(scene.net, LATE, netns, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_not_equal(net_host_mark(scene.net, LATE), 0);
    must_connect(netns, SERVER, PORT, scene.tcp);
    send_text(netns, NULL, "10.1.2.3", UDP_PORT, "closed");
    must_arrive_first(netns, SERVER);
    close(netns);
    net_host_release(scene.net, LATE);
}

/* ---- one after the other in a slot ---- */

static void who_is_unknown_sends_nothing(void **state)
{
    int netns = new_sandbox(LATE, true);
    net_host_release(scene.net, LATE);
    send_text(netns, NULL, SERVER, UDP_PORT, "ghost");
    send_text(netns, NULL, RESOLVER, 53, "ghost");
    must_arrive_first(other, SERVER);
    nothing_more(scene.dns_udp);
    close(netns);
}

static int bound_datagrams(int netns, const char *at, int port)
{
    int fd = socket_in(netns, SOCK_DGRAM);
    struct sockaddr_in own = socket_address(at, port);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    return fd;
}

static struct sockaddr_in ask_server(int fd, int server_fd)
{
    struct sockaddr_in server = socket_address(SERVER, ANSWERING_PORT), from;
    socklen_t len = sizeof(from);
    char text[8];
    assert_int_equal(sendto(fd, "ask", 3, 0, (struct sockaddr *)&server, sizeof(server)), 3);
    must_wait_for(server_fd);
    assert_int_equal(recvfrom(server_fd, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 3);
    return from;
}

/* Both use the same port, and the host still tracks what the first one did with it. */
static void answers_die_with_the_asker(void **state)
{
    enum { ASKER_PORT = 4000, HEIR_PORT = 4001 };
    int server = bound_datagrams(scene.world, SERVER, ANSWERING_PORT);
    int first = new_sandbox(LATE, true);
    int asker = bound_datagrams(first, "0.0.0.0", ASKER_PORT);
    struct sockaddr_in from = ask_server(asker, server);
    assert_int_equal(sendto(server, "a", 1, 0, (struct sockaddr *)&from, sizeof(from)), 1);
    must_receive(asker, "a");
    close(asker);
    close(first);
    net_host_release(scene.net, LATE);

    int second = new_sandbox(LATE, true);
    int heir = bound_datagrams(second, "0.0.0.0", ASKER_PORT);
    int own = bound_datagrams(second, "0.0.0.0", HEIR_PORT);
    struct sockaddr_in own_from = ask_server(own, server);
    assert_int_equal(sendto(server, "b", 1, 0, (struct sockaddr *)&from, sizeof(from)), 1);
    assert_int_equal(sendto(server, "c", 1, 0, (struct sockaddr *)&own_from, sizeof(from)), 1);
    must_receive(own, "c");
    nothing_more(heir);
    /* Once it has used the same port itself, the answers are its own. */
    from = ask_server(heir, server);
    assert_int_equal(sendto(server, "d", 1, 0, (struct sockaddr *)&from, sizeof(from)), 1);
    must_receive(heir, "d");
    close(server);
    close(heir);
    close(own);
    close(second);
    net_host_release(scene.net, LATE);
}

static void connections_are_counted(void **state)
{
    int fds[FLOWS_MAX + 8], open = 0;
    int netns = new_sandbox(LATE, true);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = start_connect(netns, SERVER, PORT);
    must_connect(other, SERVER, PORT, scene.tcp); /* the last one, and not its sandbox's */
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        open += is_connected(fds[i], 0);
    assert_int_equal(open, FLOWS_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
    int rest;
    while ((rest = accept4(scene.tcp, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(rest);
    close(netns);
    net_host_release(scene.net, LATE);
}

/* ---- the relay ---- */

static int relay_socket(int type, uint16_t *ret_port)
{
    int fd = socket_in(scene.host, type), one = 1;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = net_address_relay(INSTANCE)};
    socklen_t len = sizeof(own);
    assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    *ret_port = ntohs(own.sin_port);
    return fd;
}

static void names_go_to_the_relay(void **state)
{
    struct in_addr at = net_address_relay(INSTANCE);
    char relay[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &at, relay, sizeof(relay));
    struct box_network n = {.names = "example.com", .names_len = sizeof("example.com")};
    deny(&n, "0.0.0.0", 0);
    allow(&n, SECOND, 32);
    set_policy(&n);
    /* Whatever the address, in vain if it is closed; and an allowed address needs no name. */
    must_connect(sandbox, SECOND, PORT, scene.tcp);
    int fd = start_connect(sandbox, SERVER, 443);
    assert_true(is_connected(fd, PATIENCE_MS));
    int relayed = accept_as(relay_https, relay);
    must_pass(fd, relayed);
    must_pass(relayed, fd);
    close(relayed);
    close(fd);
    fd = start_connect(sandbox, "198.51.100.1", 80);
    assert_true(is_connected(fd, PATIENCE_MS));
    close(accept_as(relay_http, relay));
    close(fd);
    must_be_refused(sandbox, SERVER, 8080);
    send_text(sandbox, NULL, SERVER, UDP_PORT, "denied");
    send_text(sandbox, NULL, SERVER, 443, "denied"); /* QUIC */
    send_text(sandbox, NULL, RESOLVER, 53, "question");
    must_receive(relay_dns, "question");
    must_arrive_first(other, SERVER);
    nothing_more(scene.dns_udp);
    int direct = start_connect(sandbox, relay, scene.relay.https);
    int private = start_connect(sandbox, "10.1.2.3", 443);
    must_connect(sandbox, SECOND, PORT, scene.tcp);
    must_be_idle(direct);
    must_be_idle(private);
    close(direct);
    close(private);
    set_policy(NULL);
    must_connect(sandbox, SERVER, PORT, scene.tcp);
}

/* As the relay's user on the host itself. */
static void the_relay_reaches_no_closed_address(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        int good = 0;
        if (setresuid(scene.relay.uid, scene.relay.uid, scene.relay.uid) < 0)
            _exit(99);
        static const char *const no[] = {"10.1.2.3", "169.254.169.254", HOST, HOST_PRIVATE};
        for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            struct sockaddr_in to = socket_address(no[i], PORT);
            good += connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0;
            close(fd);
        }
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in to = socket_address(SERVER, PORT);
        good += connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        to = socket_address(RESOLVER, 53);
        good += connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
        _exit(good);
    }
    int status, server = server_in(scene.host, SOCK_STREAM, PORT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 6);
    close(accept_as(scene.tcp, SERVER));
    close(accept_as(scene.dns_tcp, RESOLVER));
    must_have_no_connection(server);
    close(server);
}

/* ---- what it costs ---- */

static int64_t time_policies(struct box_network *n, bool fresh)
{
    enum { ROUNDS = 50 };
    struct err err;
    box_network_settle(n);
    int64_t begin = clock_mono_ns();
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(net_host_policy(scene.net, SLOT, n, fresh, &err), 0);
        assert_int_equal(net_host_policy(scene.net, SLOT, NULL, fresh, &err), 0);
    }
    return (clock_mono_ns() - begin) / ROUNDS / 1000;
}

static void costs_little(void **state)
{
    struct box_network none = {0}, ten = {0}, full = {0};
    deny(&none, "0.0.0.0", 0);
    for (unsigned i = 0; i < 10; i++)
        ten.deny[i] = (struct box_range){0x05000000 + i * 512, 0x05000000 + i * 512 + 255};
    ten.deny_count = 10;
    for (unsigned i = 0; i < BOX_RANGES_MAX; i++)
        full.deny[i] = (struct box_range){0x05000000 + i * 512, 0x05000000 + i * 512 + 255};
    full.deny_count = BOX_RANGES_MAX;
    print_message("# a policy put and taken: deny all %lld us, 10 ranges %lld us, 256 ranges "
                  "%lld us; of a sandbox that runs: %lld us\n",
                  (long long)time_policies(&none, true), (long long)time_policies(&ten, true),
                  (long long)time_policies(&full, true), (long long)time_policies(&none, false));
}

static int build(void **state)
{
    net_scene_frame();
    relay_https = relay_socket(SOCK_STREAM, &scene.relay.https);
    relay_http = relay_socket(SOCK_STREAM, &scene.relay.http);
    relay_dns = relay_socket(SOCK_DGRAM, &scene.relay.dns_udp);
    scene.relay.dns_tcp = scene.relay.https;
    scene.relay.uid = 64992;
    scene.flows_max = FLOWS_MAX;
    open_net();
    rules = nft_change_open(NULL);
    sandbox = new_sandbox(SLOT, true);
    other = new_sandbox(OTHER, true);
    return 0;
}

static int take_down(void **state)
{
    close(sandbox);
    close(other);
    net_host_close(scene.net, true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_policy_all_is_open),
        cmocka_unit_test(the_operator_opens_a_range),
        cmocka_unit_test(deny_all_leaves_nothing),
        cmocka_unit_test(two_halves_are_all),
        cmocka_unit_test(deny_a_range),
        cmocka_unit_test(allow_wins),
        cmocka_unit_test(allow_does_not_open_what_is_closed),
        cmocka_unit_test(connections_follow_the_policy),
        cmocka_unit_test(a_restart_keeps_policies),
        cmocka_unit_test(rules_taken_away_come_back),
        cmocka_unit_test(a_later_link),
        cmocka_unit_test(who_is_unknown_sends_nothing),
        cmocka_unit_test(answers_die_with_the_asker),
        cmocka_unit_test(connections_are_counted),
        cmocka_unit_test(names_go_to_the_relay),
        cmocka_unit_test(the_relay_reaches_no_closed_address),
        cmocka_unit_test(costs_little),
    };
    if (geteuid() != 0) {
        (void)printf("1..0 # SKIP needs root\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, build, take_down);
}
