/* The floor of a miss: client -> relay -> upstream -> relay -> client by recvmmsg and sendmmsg, and nothing else.
   SOCKETS connected upstream sockets, one drawn at random for each batch; the id names a place in that socket's ring.
   Usage: relay UPSTREAM_PORT. Prints its port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* A ring is longer than a load has queries in flight: no place is taken twice. */
enum { SOCKETS = 128, RING = 4096, VECTOR = 64, OCTETS = 1500, BUFFER = 4 << 20 };

struct asked {
    struct sockaddr_in client;
    uint16_t id;
};

static struct asked rings[SOCKETS][RING];
static uint16_t next[SOCKETS];
static int upstream[SOCKETS], client;
static unsigned char data[VECTOR][OCTETS];
static struct sockaddr_in peers[VECTOR];
static struct iovec parts[VECTOR];
static struct mmsghdr messages[VECTOR];

static int opened(void)
{
    int buffer = BUFFER, one = socket(AF_INET, SOCK_DGRAM, 0);

    setsockopt(one, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(one, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    return one;
}

static int received(int from)
{
    for (int i = 0; i < VECTOR; i++) {
        parts[i] = (struct iovec){.iov_base = data[i], .iov_len = OCTETS};
        messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &parts[i], .msg_iovlen = 1, .msg_name = &peers[i], .msg_namelen = sizeof peers[i]};
    }
    return recvmmsg(from, messages, VECTOR, MSG_DONTWAIT, NULL);
}

static void send_all(int to, int count)
{
    for (int i = 0; i < count; i++)
        parts[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < count;) {
        int now = sendmmsg(to, messages + sent, count - sent, 0);
        sent += now > 0 ? now : 1;
    }
}

static void forward(void)
{
    int at = random() % SOCKETS, count = received(client);

    for (int i = 0; i < count; i++) {
        uint16_t id = next[at]++ % RING;
        rings[at][id].client = peers[i];
        memcpy(&rings[at][id].id, data[i], 2);
        memcpy(data[i], &id, 2);
        messages[i].msg_hdr.msg_name = NULL;
        messages[i].msg_hdr.msg_namelen = 0;
    }
    send_all(upstream[at], count);
}

static void bring_back(int at)
{
    int count = received(upstream[at]);

    for (int i = 0; i < count; i++) {
        uint16_t id;
        memcpy(&id, data[i], 2);
        memcpy(data[i], &rings[at][id % RING].id, 2);
        peers[i] = rings[at][id % RING].client;
        messages[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
    send_all(client, count);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, there = here;
    socklen_t size = sizeof here;
    int watch = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = SOCKETS}, events[SOCKETS + 1];

    if (argc != 2)
        return 2;
    there.sin_port = htons(atoi(argv[1]));
    client = opened();
    if (bind(client, (struct sockaddr *)&here, size) || getsockname(client, (struct sockaddr *)&here, &size)) {
        perror("relay");
        return 1;
    }
    epoll_ctl(watch, EPOLL_CTL_ADD, client, &event);
    for (int at = 0; at < SOCKETS; at++) {
        upstream[at] = opened();
        if (connect(upstream[at], (struct sockaddr *)&there, sizeof there)) {
            perror("relay");
            return 1;
        }
        event.data.fd = at;
        epoll_ctl(watch, EPOLL_CTL_ADD, upstream[at], &event);
    }
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(watch, events, SOCKETS + 1, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == SOCKETS)
                forward();
            else
                bring_back(events[i].data.fd);
        }
    }
}
