/*
 * What an evil guest does, one thing each: evil WORD ARGUMENT...
 *
 * Static and small, so that it runs in any image. Each prints what came of it, and what the kernel refused ends it in
 * order: it is the test that judges. With a number of SECONDS it keeps what it has for so long.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int number(char **arguments, int at)
{
	return arguments[at] ? atoi(arguments[at]) : 0;
}

static void keep(int seconds)
{
	fflush(stdout);
	sleep(seconds);
}

/* deep DIR NUMBER: directories in one another, deeper than any path is long */
static void deep(char **arguments)
{
	int done = 0;
	int dir = open(arguments[0], O_DIRECTORY);
	while (done < number(arguments, 1)) {
		if (mkdirat(dir, "d", 0755) && errno != EEXIST)
			break;
		int next = openat(dir, "d", O_DIRECTORY);
		if (next < 0)
			break;
		close(dir);
		dir = next;
		done++;
	}
	printf("%d\n", done);
}

/* wide DIR NUMBER: directories beside one another, with the longest names there are */
static void wide(char **arguments)
{
	int done = 0;
	int dir = open(arguments[0], O_DIRECTORY);
	char name[256];
	memset(name, 'w', 255);
	while (done < number(arguments, 1)) {
		sprintf(name + 245, "%010d", done);
		if (mkdirat(dir, name, 0755))
			break;
		done++;
	}
	printf("%d\n", done);
}

/* groups DIR NUMBER: control groups beside one another */
static void groups(char **arguments)
{
	int done = 0;
	int dir = open(arguments[0], O_DIRECTORY);
	char name[16];
	while (done < number(arguments, 1)) {
		sprintf(name, "g%d", done);
		if (mkdirat(dir, name, 0755))
			break;
		done++;
	}
	printf("%d\n", done);
}

/* odd DIR: what is no plain file, and what is only large to look at */
static void odd(char **arguments)
{
	char name[256], other[256];
	if (chdir(arguments[0]))
		return perror("chdir");
	mkfifo("fifo", 0666);
	mknod("socket", S_IFSOCK | 0666, 0);
	if (symlink("/etc/shadow", "link") || symlink("link/../..", "up"))
		perror("symlink");
	int file = open("sparse", O_CREAT | O_WRONLY, 04755);
	if (ftruncate(file, 1L << 40) || pwrite(file, "end", 3, (1L << 40) - 3) != 3)
		perror("sparse");
	for (int i = 0; i < 2000; i++) {
		sprintf(name, "same%d", i);
		if (linkat(AT_FDCWD, "fifo", AT_FDCWD, name, 0))
			break;
	}
	memset(name, '\n', 255), name[255] = 0;
	memset(other, 0xff, 255), other[255] = 0;
	close(open(name, O_CREAT | O_WRONLY, 0));
	close(open(other, O_CREAT | O_WRONLY, 0));
	close(open("\033[2J$(reboot);`id`", O_CREAT | O_WRONLY, 0));
	printf("made\n");
}

/* title TITLE SECONDS: a process that is called so */
static void title(char **arguments)
{
	char *renamed[] = {arguments[0], NULL};
	setenv("EVIL", arguments[1], 1);
	execv("/proc/self/exe", renamed);
}

static int change_address(int socket, int add, int family, const void *address, int prefix)
{
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg message;
		char rest[64];
	} request = {0};
	char answer[4096];
	int bytes = family == AF_INET ? 4 : 16;
	request.header.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	request.message.ifa_family = family;
	request.message.ifa_prefixlen = prefix;
	request.message.ifa_index = if_nametoindex("eth0");
	request.message.ifa_flags = IFA_F_NODAD;
	struct rtattr *attribute = (void *)((char *)&request + NLMSG_LENGTH(sizeof request.message));
	attribute->rta_type = IFA_LOCAL;
	attribute->rta_len = RTA_LENGTH(bytes);
	memcpy(RTA_DATA(attribute), address, bytes);
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.message) + RTA_ALIGN(RTA_LENGTH(bytes));
	if (send(socket, &request, request.header.nlmsg_len, 0) < 0 || recv(socket, answer, sizeof answer, 0) < 0)
		return errno;
	return -((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
}

/* addresses NUMBER: so many of them, none of the bridge's network */
static void addresses(char **arguments)
{
	int socket_ = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	unsigned char address[16] = {0x20, 0x01, 0x0d, 0xb8, 0xde, 0xad};
	int done = 0;
	while (done < number(arguments, 0)) {
		unsigned last = htonl(done + 1);
		memcpy(address + 12, &last, 4);
		if (change_address(socket_, 1, AF_INET6, address, 128))
			break;
		done++;
	}
	printf("%d\n", done);
}

/* flood ADDRESS SECONDS: an address of the bridge's network comes and goes all the time */
static void flood(char **arguments)
{
	int socket_ = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	unsigned char address[4];
	int done = 0;
	time_t end = time(NULL) + number(arguments, 1);
	inet_pton(AF_INET, arguments[0], address);
	while (time(NULL) < end) {
		change_address(socket_, 1, AF_INET, address, 24);
		change_address(socket_, 0, AF_INET, address, 24);
		done++;
	}
	printf("%d\n", done);
}

/* names SECONDS: announces services without end by mDNS, each with another name */
static void names(char **arguments)
{
	int out = socket(AF_INET, SOCK_DGRAM, 0), hops = 255;
	struct ip_mreqn interface = {.imr_ifindex = if_nametoindex("eth0")};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(5353)};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(5353)};
	int done = 0;
	time_t end = time(NULL) + number(arguments, 0);
	inet_pton(AF_INET, "224.0.0.251", &to.sin_addr);
	setsockopt(out, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface);
	setsockopt(out, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops);
	bind(out, (void *)&from, sizeof from);
	while (time(NULL) < end) {
		/* an answer with one PTR of _http._tcp.local */
		unsigned char packet[128] = {0, 0, 0x84, 0, 0, 0, 0, 1};
		int length = 12;
		char label[32];
		static const unsigned char kind[] = "\5_http\4_tcp\5local";
		memcpy(packet + length, kind, sizeof kind), length += sizeof kind;
		static const unsigned char rest[] = {0, 12, 0, 1, 0, 0, 0x11, 0x94};
		memcpy(packet + length, rest, sizeof rest), length += sizeof rest;
		int size = sprintf(label, "evil%d", done);
		packet[length++] = 0, packet[length++] = size + 3;
		packet[length++] = size;
		memcpy(packet + length, label, size), length += size;
		packet[length++] = 0xc0, packet[length++] = 12;
		sendto(out, packet, length, 0, (void *)&to, sizeof to);
		if (++done % 100 == 0)
			usleep(1000);
	}
	printf("%d\n", done);
}

/* keys NUMBER: keys of the kernel's, as many users */
static void keys(char **arguments)
{
	static char text[19000];
	int done = 0;
	memset(text, 'A', sizeof text);
	while (done < number(arguments, 0)) {
		pid_t child = fork();
		if (child == 0) {
			if (setresuid(done + 1, done + 1, done + 1))
				_exit(1);
			_exit(syscall(SYS_add_key, "user", "evil", text, sizeof text, -4) < 0);
		}
		int status = 1;
		if (child < 0 || waitpid(child, &status, 0) < 0 || status)
			break;
		done++;
	}
	printf("%d\n", done);
}

/* inotify NUMBER SECONDS */
static void inotify(char **arguments)
{
	int done = 0;
	while (done < number(arguments, 0) && inotify_init() >= 0)
		done++;
	printf("%d\n", done);
	keep(number(arguments, 1));
}

/* terminals NUMBER SECONDS */
static void terminals(char **arguments)
{
	int done = 0;
	while (done < number(arguments, 0) && open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0)
		done++;
	printf("%d\n", done);
	keep(number(arguments, 1));
}

/* lease FILE SECONDS: whoever opens it waits until the kernel breaks the lease */
static void lease(char **arguments)
{
	int file = open(arguments[0], O_RDWR);
	signal(SIGIO, SIG_IGN);
	printf("%d\n", fcntl(file, F_SETLEASE, F_WRLCK));
	keep(number(arguments, 1));
}

/* calls: what the kernel says to each system call that is refused, an errno a line */
static void calls(char **arguments)
{
	static const long numbers[] = {
		SYS_add_key, SYS_request_key, SYS_keyctl, SYS_io_uring_setup, SYS_bpf, SYS_perf_event_open,
		SYS_userfaultfd, SYS_mount_setattr, SYS_open_by_handle_at, SYS_syslog, SYS_swapon, SYS_kexec_load,
		SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_acct, SYS_quotactl,
	};
	(void)arguments;
	for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
		printf("%d ", syscall(numbers[at], 0, 0, 0, 0, 0, 0) < 0 ? errno : 0);
	printf("\n");
}

/* forks NUMBER SECONDS: processes that fork as soon as they can */
static void forks(char **arguments)
{
	time_t end = time(NULL) + number(arguments, 1);
	int done = 0;
	signal(SIGCHLD, SIG_IGN);
	while (time(NULL) < end) {
		pid_t child = fork();
		if (child == 0) {
			while (time(NULL) < end)
				if (fork() < 0)
					usleep(100);
			_exit(0);
		}
		done += child > 0;
		if (child < 0)
			usleep(100);
	}
	printf("%d\n", done);
}

/* exchange ONE OTHER SECONDS: two names change places all the time */
static void exchange(char **arguments)
{
	time_t end = time(NULL) + number(arguments, 2);
	int done = 0;
	while (time(NULL) < end)
		done += !syscall(SYS_renameat2, AT_FDCWD, arguments[0], AT_FDCWD, arguments[1], 2);
	printf("%d\n", done);
}

static int raw(struct sockaddr_ll *to, unsigned char own[6])
{
	int out = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	struct ifreq interface = {.ifr_name = "eth0"};
	*to = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("eth0"), .sll_halen = 6};
	ioctl(out, SIOCGIFHWADDR, &interface);
	memcpy(own, interface.ifr_hwaddr.sa_data, 6);
	return out;
}

/* arp ADDRESS: says that the address of somebody else is its own */
static void arp(char **arguments)
{
	struct sockaddr_ll to;
	unsigned char own[6], frame[42] = {[12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
	int out = raw(&to, own);
	memset(frame, 0xff, 6), memcpy(frame + 6, own, 6), memcpy(frame + 22, own, 6);
	inet_pton(AF_INET, arguments[0], frame + 28);
	memset(frame + 32, 0xff, 6), memcpy(frame + 38, frame + 28, 4);
	for (int i = 0; i < 20; i++)
		sendto(out, frame, sizeof frame, 0, (void *)&to, sizeof to), usleep(10000);
	printf("sent\n");
}

/* router: says that it is the router of a prefix */
static void router(char **arguments)
{
	int out = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), hops = 255;
	unsigned char message[48] = {[0] = 134, [4] = 64, [6] = 7, 8, [16] = 3, 4, 64, 0xc0, [21] = 1, [25] = 1};
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex("eth0")};
	(void)arguments;
	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	inet_pton(AF_INET6, "fd99:bad:bad:bad::", message + 32);
	setsockopt(out, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
	setsockopt(out, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5);
	/* Its link-local address may not be one yet. */
	for (int i = 0; i < 100 && sendto(out, message, sizeof message, 0, (void *)&to, sizeof to) < 0; i++)
		usleep(50000);
	printf("sent\n");
}

/* hardware NUMBER: frames of as many hardware addresses */
static void hardware(char **arguments)
{
	struct sockaddr_ll to;
	unsigned char own[6], frame[60] = {[6] = 2, [12] = 0x88, 0xb5};
	int out = raw(&to, own);
	memset(frame, 0xff, 6);
	for (int done = 0; done < number(arguments, 0); done++) {
		frame[9] = done >> 16, frame[10] = done >> 8, frame[11] = done;
		sendto(out, frame, sizeof frame, 0, (void *)&to, sizeof to);
	}
	printf("sent\n");
}

int main(int count, char **arguments)
{
	static const struct {
		const char *word;
		void (*what)(char **);
		int arguments;
	} words[] = {
		{"deep", deep, 2}, {"wide", wide, 2}, {"groups", groups, 2}, {"odd", odd, 1}, {"addresses", addresses, 1},
		{"flood", flood, 2}, {"names", names, 1}, {"keys", keys, 1}, {"inotify", inotify, 2},
		{"terminals", terminals, 2}, {"lease", lease, 2}, {"calls", calls, 0}, {"forks", forks, 2},
		{"exchange", exchange, 3}, {"arp", arp, 1}, {"router", router, 0}, {"hardware", hardware, 1},
		{"title", title, 2},
	};
	struct rlimit files;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Started anew by `title`, it has nothing but that. */
	if (getenv("EVIL"))
		return sleep(atol(getenv("EVIL")));
	for (size_t at = 0; at < sizeof words / sizeof *words; at++)
		if (count >= 2 && !strcmp(arguments[1], words[at].word) && count - 2 >= words[at].arguments) {
			words[at].what(arguments + 2);
			return 0;
		}
	fprintf(stderr, "usage: evil WORD ARGUMENT...\n");
	return 2;
}
