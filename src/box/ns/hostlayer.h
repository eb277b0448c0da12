/* SPDX-License-Identifier: Apache-2.0 */
/* The host layer: a small overlay layer above a template's root file system that holds the files
 * which depend on the host, so that templates stay portable.
 *
 *   etc/resolv.conf                          the resolvers given
 *   etc/hosts                                localhost
 *   etc/ssl/certs/ca-certificates.crt        the template's own bundle and the host's certificates
 *   usr/local/share/ca-certificates/carrel-*.crt   the same additions one by one, so that
 *                                            update-ca-certificates inside keeps them
 *
 * Everything is owned by 0:0 and readable by all; directories that the template has keep the
 * template's mode and owner. The content of a template is hostile: its paths are resolved within
 * it, only regular files of bounded size are read, and nothing is written outside of the layer. */
#pragma once

#include <netinet/in.h>

struct err;

enum {
    HOSTLAYER_RESOLVERS = 3,
    HOSTLAYER_BUNDLE_MAX = 8 * 1024 * 1024, /* bytes read of each bundle */
    HOSTLAYER_EXTRA_MAX = 512,              /* certificates added at most */
};

struct hostlayer_options {
    struct in_addr dns[HOSTLAYER_RESOLVERS];
    unsigned dns_count;
    /* PEM file whose certificates are trusted inside; NULL is the host's
     * /etc/ssl/certs/ca-certificates.crt (and then its absence is no error), "none" adds none. */
    const char *ca_bundle;
};

/* Makes layer_dir from the template at template_rootfs: built in a temporary sibling and renamed
 * into place, so that layer_dir is never half made. Does nothing when it was built from the same
 * inputs before (the layer carries a stamp in its sibling layer_dir + ".stamp"). An older layer is
 * replaced; mounts that use it keep what they have. Needs root. */
int hostlayer_build(const char *template_rootfs, const char *layer_dir,
                    const struct hostlayer_options *options, struct err *err);
