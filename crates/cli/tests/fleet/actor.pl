#!/usr/bin/perl
# The work of a term, in one of the shapes in which processes escape who wants to end them. Perl,
# because the tests may not fork by themselves (no `unsafe`), and because it reaches every system
# call that these shapes are made of.
#
#   actor.pl work DIR SHAPE [ARGUMENT]   CMD of a term
#   actor.pl crowd COUNT                 idle processes, until the end of its input
#   actor.pl busy COUNT                  processes that only compute, until the end of its input
#   actor.pl lacking ERRNO CALLS CMD...  CMD; these system calls (1,2,3) fail with that error
#   actor.pl tool NAME                   one of the helpers below that the shapes start anew
#
# The witness: CMD holds a lock on the file DIR/witness, which all it starts inherits with the
# descriptor. Whoever closes its descriptors takes DIR/witness.closed instead. CMD of the next term
# that finds either locked has met something of the last one alive, and says so in DIR/overlaps.
use strict;
use warnings;
use Config;
use Fcntl qw(:flock :DEFAULT);
use POSIX ();
use Time::HiRes qw(time sleep);

# Descriptors survive exec.
$^F = 1023;

my %x86_64 = (clone => 56, exit => 60, prctl => 157, seccomp => 317);
my %aarch64 = (clone => 220, exit => 93, prctl => 167, seccomp => 277);
my %call = $Config{archname} =~ /^x86_64/ ? %x86_64 : %aarch64;
my ($PDEATHSIG, $DUMPABLE, $NAME, $SUBREAPER, $NO_NEW_PRIVS) = (1, 4, 15, 36, 38);

my ($dir, $token);

sub prctl { syscall($call{prctl}, $_[0], $_[1], 0, 0, 0) == 0 or die "prctl $_[0]: $!" }

sub append {
    my ($name, $line) = @_;
    sysopen(my $file, "$dir/$name", O_WRONLY | O_APPEND | O_CREAT, 0666) or die "$name: $!";
    syswrite($file, "$line\n");
    close $file;
}

# A child that runs this and ends.
sub child(&) {
    my $code = shift;
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) { $code->(); POSIX::_exit(0) }
    return $pid;
}

sub rest { sleep 1000 while 1 }

# A process in a session of its own whose parents have gone.
sub daemon(&) {
    my $code = shift;
    waitpid(child { POSIX::setsid(); child { $code->() } }, 0);
}

# These must not outlive the tests, whatever the tests find: no process of theirs lives longer.
sub bounded { my $end = time + ($_[0] || 30); return sub { time < $end } }

sub spin { my $on = bounded($_[0]); while ($on->()) { for (1 .. 20000) { } } }

sub name { my $name = $_[0]; syscall($call{prctl}, $NAME, $name, 0, 0, 0) }

sub again { exec($^X, $0, 'tool', @_) or die "exec: $!" }

my %tool = (
    # A process without its first thread.
    leaderless => sub {
        require threads;
        threads->create(sub { rest() })->detach;
        threads->create(sub { rest() })->detach;
        syscall($call{exit}, 0);
    },
    # The same, with children that another thread has made.
    threaded => sub {
        require threads;
        my $family = sub { child { rest() }; child { POSIX::setsid(); rest() }; rest() };
        threads->create($family)->detach;
        sleep 0.02;
        syscall($call{exit}, 0);
    },
    # The same process becomes another program again and again.
    exec => sub { sleep 0.02; again('exec') },
    rest => \&rest,
);

my %shape = (
    plain => sub { child { rest() }; child { POSIX::setsid(); rest() } },
    daemon => sub { daemon { rest() } for 1 .. 3 },
    deaf => sub {
        $SIG{TERM} = 'IGNORE';
        child { rest() };
        child { POSIX::setsid(); rest() };
        daemon { rest() };
    },
    closed => sub {
        $SIG{TERM} = 'IGNORE';
        daemon {
            POSIX::close($_) for 0 .. 255;
            chdir '/';
            open(my $witness, '>>', "$dir/witness.closed") or die $!;
            flock($witness, LOCK_EX | LOCK_NB) or die $!;
            append('closed', $token);
            rest();
        };
        sleep 0.002 until grep { $_ eq "$token\n" } lines('closed');
    },
    subreaper => sub {
        child {
            prctl($SUBREAPER, 1);
            daemon { rest() };
            # One that ends while its orphans live on.
            child { prctl($SUBREAPER, 1); daemon { rest() }; sleep 0.05 };
            rest();
        };
    },
    leaderless => sub {
        $SIG{TERM} = 'IGNORE';
        child { again('leaderless') };
        daemon { again('leaderless') };
    },
    threaded => sub { child { again('threaded') }; daemon { again('threaded') }; sleep 0.1 },
    # It leaves every control group that it may leave.
    migrant => sub {
        $SIG{TERM} = 'IGNORE';
        for (1 .. 2) {
            daemon {
                for my $root ('/sys/fs/cgroup', '/sys/fs/cgroup/unified') {
                    open(my $processes, '>', "$root/cgroup.procs") or next;
                    syswrite($processes, $$);
                }
                rest();
            };
        }
        sleep 0.05;
    },
    # A sibling of CMD rather than a child: a child of the guard.
    sibling => sub {
        $SIG{TERM} = 'IGNORE';
        my ($CLONE_PARENT, $SIGCHLD) = (0x8000, 17);
        my $pid = syscall($call{clone}, $CLONE_PARENT | $SIGCHLD, 0, 0, 0, 0);
        die "clone: $!" if $pid < 0;
        if ($pid == 0) { daemon { rest() }; rest() }
    },
    # Children that tell nobody when they end: `wait` passes over them unless it is asked not to.
    silent => sub {
        for (1 .. 2) {
            my $pid = syscall($call{clone}, 0, 0, 0, 0, 0);
            die "clone: $!" if $pid < 0;
            if ($pid == 0) { POSIX::setsid(); syscall($call{clone}, 0, 0, 0, 0, 0); rest() }
        }
        sleep 0.02;
    },
    # As the first process of a pid namespace it dies of no signal but SIGKILL.
    namespace => sub {
        child { exec('unshare', '-Urpf', $^X, $0, 'tool', 'rest') };
        daemon { exec('unshare', '-Urpf', '--mount-proc', $^X, $0, 'tool', 'rest') };
    },
    traced => sub {
        child { exec('strace', '-fqqo', '/dev/null', $^X, $0, 'tool', 'rest') };
        daemon { exec('strace', '-DDqqo', '/dev/null', $^X, $0, 'tool', 'rest') };
        sleep 0.05;
    },
    names => sub {
        $SIG{TERM} = 'IGNORE';
        for my $name (') S 1 (', "a\n) Z 1 1", '(((', ')', "\xff\xfe) X 0", '  ', '1 (x) R') {
            daemon { name("$name\0"); rest() };
        }
    },
    many => sub {
        my $count = shift || 200;
        $SIG{TERM} = 'IGNORE';
        for (1 .. 4) {
            child { child { POSIX::setsid() if $_ % 2; rest() } for 1 .. $count / 4; rest() };
        }
    },
    # What its own user may not look at.
    hidden => sub {
        $SIG{TERM} = 'IGNORE';
        child { prctl($DUMPABLE, 0); rest() };
        daemon { prctl($DUMPABLE, 0); rest() };
        sleep 0.02;
    },
    # An agent that leaves its starter at once, and is hidden.
    agent => sub {
        daemon { prctl($DUMPABLE, 0); append('agent', $$); rest() };
        sleep 0.002 until -e "$dir/agent";
    },
    # A program that may be run and not be read: the kernel hides what runs of it.
    unreadable => sub {
        my $program = "$dir/unreadable.$token";
        system('cp', '/bin/sleep', $program) == 0 or die 'cp';
        chmod 0111, $program or die $!;
        child { exec($program, '1000') };
        daemon { exec($program, '1000') };
        sleep 0.05;
    },
    stopped => sub {
        child { kill STOP => $$; rest() };
        daemon { kill STOP => $$; rest() };
        child { POSIX::setpgid(0, 0); kill STOP => $$; rest() };
    },
    hopping => sub {
        $SIG{TERM} = 'IGNORE';
        for (1 .. 3) {
            child {
                my $on = bounded(30);
                while ($on->()) { fork() and POSIX::_exit(0); POSIX::setsid(); sleep 0.005 }
            };
        }
    },
    groups => sub {
        $SIG{HUP} = 'IGNORE';
        child { POSIX::setpgid(0, 0); child { rest() }; rest() };
        daemon { POSIX::setpgid(0, 0); rest() };
    },
    terminal => sub {
        child {
            POSIX::setsid();
            sysopen(my $master, '/dev/ptmx', O_RDWR | O_NOCTTY) or die "ptmx: $!";
            my ($unlock, $number) = (pack('i', 0), pack('i', 0));
            ioctl($master, 0x40045431, $unlock) or die "unlock: $!";
            ioctl($master, 0x80045430, $number) or die "number: $!";
            # The first terminal that a session leader opens becomes its own.
            sysopen(my $slave, '/dev/pts/' . unpack('i', $number), O_RDWR) or die "pts: $!";
            child { rest() };
            rest();
        };
        sleep 0.02;
    },
    exec => sub { child { again('exec') }; daemon { again('exec') } },
    jobs => sub {
        child { exec('bash', '-mc', 'sleep 1000 & sleep 1000 & (sleep 1000 & wait) & wait') };
    },
    # A request to stop is answered with more processes.
    bait => sub {
        child {
            $SIG{TERM} = sub { daemon { rest() } for 1 .. 3 };
            rest();
        };
        sleep 0.02;
    },
    # Short-lived orphans: so many a second, for at most so long.
    storm => sub {
        my $rate = shift || 1700;
        $SIG{TERM} = 'IGNORE';
        for (1 .. 2) {
            child {
                POSIX::setsid();
                $SIG{CHLD} = 'IGNORE';
                my ($on, $begin, $count) = (bounded(25), time, 0);
                while ($on->()) {
                    child { child { sleep 0.002 } };
                    $count++;
                    my $ahead = $count * 2 / $rate - (time - $begin);
                    sleep $ahead if $ahead > 0;
                }
            };
        }
    },
    spinning => sub {
        my $count = shift || 200;
        $SIG{TERM} = 'IGNORE';
        for (1 .. $count) { child { POSIX::setsid(); spin(30) } }
    },
    # Every process forks as long as the limit of its user lets it, and computes.
    bomb => sub {
        $SIG{TERM} = 'IGNORE';
        child {
            POSIX::setsid();
            $SIG{CHLD} = 'IGNORE';
            my $on = bounded(25);
            while ($on->()) { my $pid = fork(); POSIX::setsid() if defined $pid && $pid == 0 }
        };
    },
    # Lineages that no two looks find under the same pids.
    lineage => sub {
        $SIG{TERM} = 'IGNORE';
        for (1 .. 4) {
            child {
                $SIG{CHLD} = 'IGNORE';
                my $on = bounded(20);
                while ($on->()) { fork() and POSIX::_exit(0); POSIX::setsid() }
            };
        }
    },
    # In uninterruptible sleep: it writes to a file system that is frozen.
    frozen => sub {
        my $file = shift;
        child { POSIX::setsid(); open(my $written, '>', $file) or die $!; rest() };
        sleep 0.1;
    },
    # Another user's, so that no signal of ours reaches it: through a set-user-ID copy of setpriv.
    foreign => sub {
        my $uid = shift;
        child { POSIX::setsid(); exec("$dir/become", '--reuid', $uid, 'sleep', '120') };
        sleep 0.1;
    },
);

sub lines { open(my $file, '<', "$dir/$_[0]") or return (); return <$file> }

sub locked {
    my $name = shift;
    sysopen(my $witness, "$dir/$name", O_RDWR | O_CREAT, 0666) or die "$name: $!";
    flock($witness, LOCK_EX | LOCK_NB) or append('overlaps', "overlap $name $token");
    return $witness;
}

sub work {
    ($dir, my $shape, my $argument) = @_;
    $token = $ENV{LEASEHOLD_FENCING_TOKEN};
    umask 0;
    close(locked('witness.closed'));
    my $witness = locked('witness');
    my $identity = $ENV{LEASEHOLD_HELD_IDENTITY};
    my $tell = sub {
        append('starts', sprintf("%s %s %s %d %.0f", $_[0], $token, $identity, $$, time * 1e9));
    };
    $tell->('child');
    unlink "$dir/agent";
    $shape{$shape}->($argument);
    $tell->('ready');
    sleep 0.01 until -e "$dir/leave.$token";
}

# So many processes that end with this one, which ends with its input.
sub until_end {
    my ($count, $code) = @_;
    $SIG{CHLD} = 'IGNORE';
    for (1 .. $count) {
        child { prctl($PDEATHSIG, 9); close STDIN; $code->() }
    }
    print "ready\n";
    close STDOUT;
    sysread(STDIN, my $nothing, 1);
}

# A filter of the kernel: each of the calls fails, every other one is let through.
sub lacking {
    my ($errno, $calls, @command) = @_;
    my ($LOAD, $EQUAL, $RETURN, $ALLOW, $ERRNO) = (0x20, 0x15, 0x06, 0x7fff0000, 0x00050000);
    my $filter = pack('SCCL', $LOAD, 0, 0, 0);
    for my $call (split /,/, $calls) {
        $filter .= pack('SCCL', $EQUAL, 0, 1, $call);
        $filter .= pack('SCCL', $RETURN, 0, 0, $ERRNO | $errno);
    }
    $filter .= pack('SCCL', $RETURN, 0, 0, $ALLOW);
    my $program = pack('S x![P] P', length($filter) / 8, $filter);
    prctl($NO_NEW_PRIVS, 1);
    syscall($call{seccomp}, 1, 0, $program) == 0 or die "seccomp: $!";
    exec(@command) or die "exec: $!";
}

my ($role, @arguments) = @ARGV;
if ($role eq 'work') { work(@arguments) }
elsif ($role eq 'crowd') { until_end($arguments[0], \&rest) }
elsif ($role eq 'busy') { until_end($arguments[0], sub { spin(600) }) }
elsif ($role eq 'lacking') { lacking(@arguments) }
elsif ($role eq 'tool') { my $tool = shift @arguments; $tool{$tool}->(@arguments) }
else { die "no such role: $role\n" }
