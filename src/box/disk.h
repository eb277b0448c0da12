/* SPDX-License-Identifier: Apache-2.0 */
/* How the disk limit of a sandbox is made to hold. */
#pragma once

enum box_disk {
    BOX_DISK_AUTO,  /* the first of these that works here */
    BOX_DISK_QUOTA, /* of the file system that the state directory is on */
    BOX_DISK_IMAGE, /* of a file system of our own, in a file */
    BOX_DISK_GUARD, /* no limit binds; whoever fills the disk is stopped before it is full */
    BOX_DISK_NONE,  /* not even that */
};
