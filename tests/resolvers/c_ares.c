// c-ares: `ares_getaddrinfo`, as curl, Node.js and Envoy call it. Arguments: names, resolved one after the other, by the servers
// of /etc/resolv.conf. Prints one line of JSON with its counts; `timeouts` is the library's own.

#include <ares.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>

static int resolved, addresses, absent, timed_out, failed, timeouts;

static void done(void *name, int status, int waited, struct ares_addrinfo *found) {
    timeouts += waited;
    switch (status) {
    case ARES_SUCCESS:
        resolved++;
        break;
    case ARES_ENOTFOUND:
        absent++;
        break;
    case ARES_ETIMEOUT:
        timed_out++;
        break;
    default:
        failed++;
        fprintf(stderr, "%s: %s\n", (const char *)name, ares_strerror(status));
    }
    if (found) {
        for (struct ares_addrinfo_node *one = found->nodes; one; one = one->ai_next)
            addresses++;
        ares_freeaddrinfo(found);
    }
}

// Waits until nothing is asked any more.
static void finish(ares_channel channel) {
    for (;;) {
        fd_set readable, writable;
        FD_ZERO(&readable);
        FD_ZERO(&writable);
        int sockets = ares_fds(channel, &readable, &writable);
        if (!sockets)
            return;
        struct timeval most, *wait = ares_timeout(channel, NULL, &most);
        select(sockets, &readable, &writable, NULL, wait);
        ares_process(channel, &readable, &writable);
    }
}

int main(int count, char **names) {
    ares_channel channel;
    int error = ares_library_init(ARES_LIB_INIT_ALL);
    if (!error)
        error = ares_init(&channel);
    if (error) {
        fprintf(stderr, "c-ares: %s\n", ares_strerror(error));
        return 1;
    }
    for (int i = 1; i < count; i++) {
        struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        ares_getaddrinfo(channel, names[i], NULL, &hints, done, names[i]);
        finish(channel);
    }
    ares_destroy(channel);
    printf("{\"resolved\":%d,\"addresses\":%d,\"absent\":%d,\"timed_out\":%d,\"failed\":%d,\"timeouts\":%d}\n", resolved,
           addresses, absent, timed_out, failed, timeouts);
    return 0;
}
