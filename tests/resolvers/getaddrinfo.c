// musl's resolver: `getaddrinfo`, as every program calls it. Arguments: names, resolved one after the other, by the servers of
// /etc/resolv.conf. Prints one line of JSON with its counts.

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **names) {
    int resolved = 0, addresses = 0, absent = 0, again = 0, failed = 0;
    for (int i = 1; i < count; i++) {
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
        int error = getaddrinfo(names[i], NULL, &hints, &found);
        switch (error) {
        case 0:
            resolved++;
            break;
        case EAI_NONAME:
            absent++;
            break;
        case EAI_AGAIN:
            again++;
            break;
        default:
            failed++;
            fprintf(stderr, "%s: %s\n", names[i], gai_strerror(error));
        }
        if (!error) {
            for (struct addrinfo *one = found; one; one = one->ai_next)
                addresses++;
            freeaddrinfo(found);
        }
    }
    printf("{\"resolved\":%d,\"addresses\":%d,\"absent\":%d,\"again\":%d,\"failed\":%d}\n", resolved, addresses, absent,
           again, failed);
    return 0;
}
