# The first process of a World, as root in mount and PID namespaces of its own: lays the world out, says so, and waits
# for its input to end. Then the kernel ends every process in here, and all that was mounted is gone.
# bash and not an exec at the end: it reaps what other programs leave behind.
set -euo pipefail
world=$1

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/.etc/upper /run/.etc/work /run/.dev/pts "$world/home"
mkdir -m 755 /run/sshd /run/lock
mkdir -m 711 /run/sudo
mkdir -m 1777 /run/.dev/shm
touch /run/utmp
mount -t overlay -o lowerdir=/etc,upperdir=/run/.etc/upper,workdir=/run/.etc/work overlay /etc
mount -t tmpfs -o mode=755 tmpfs /var/log
touch /var/log/lastlog /var/log/wtmp /var/log/faillog
install -m 660 /dev/null /var/log/btmp
mount -t tmpfs -o mode=700 tmpfs /var/lib/sudo

# A /dev of its own, for /dev/log; terminals are those of the host, since the tests sit at them.
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx /run/.dev/
ln -s /proc/self/fd /run/.dev/fd
ln -s /proc/self/fd/0 /run/.dev/stdin
ln -s /proc/self/fd/1 /run/.dev/stdout
ln -s /proc/self/fd/2 /run/.dev/stderr
[ ! -e /dev/net/tun ] || { mkdir /run/.dev/net && cp -a /dev/net/tun /run/.dev/net/; }
mount --bind /dev/pts /run/.dev/pts
mount --rbind /run/.dev /dev

printf 'laid out\n'
read -r _ || true
