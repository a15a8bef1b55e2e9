/* The least that a relay of RTP costs: epoll, recv, send, on connected sockets. What ours is measured against.
 *
 *   relay_floor <pairs>      prints 2 × pairs ports, reads the 2 × pairs ports of the peers, relays until stdin ends.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 1024

static void fail(const char *what) { perror(what); exit(1); }

int main(int argc, char **argv) {
    int count = 2 * (argc > 1 ? atoi(argv[1]) : 1);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int *sockets = calloc(count, sizeof *sockets);
    int poller = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        if ((sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) < 0) fail("socket");
        if (bind(sockets[i], (void *)&address, size)) fail("bind");
        getsockname(sockets[i], (void *)&address, &size);
        printf("%d ", ntohs(address.sin_port));
    }
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        int port;
        if (scanf("%d", &port) != 1) fail("ports");
        struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
        if (connect(sockets[i], (void *)&address, sizeof address)) fail("connect");
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(poller, EPOLL_CTL_ADD, sockets[i], &event);
    }
    printf("ready\n");
    fflush(stdout);
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = count};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &wanted);
    struct epoll_event events[EVENTS_MAX];
    char packet[2048];
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            int from = events[i].data.u32;
            if (from == count) {
                ssize_t got = read(0, packet, sizeof packet);
                if (got == 0) return 0;
                continue;
            }
            ssize_t size = recv(sockets[from], packet, sizeof packet, 0);
            if (size >= 12) send(sockets[from ^ 1], packet, size, 0);
        }
    }
}
