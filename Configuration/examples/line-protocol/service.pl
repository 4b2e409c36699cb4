#!/usr/bin/env perl
# The line protocol in Perl: "add" and "count", as in the other languages of this folder.
# With --socket it connects to $CYCLONE_SOCKET, else it has its standard input and output.
use strict;
use warnings;
use B;
use IO::Handle;
use IO::Socket::UNIX;
use JSON::PP;

my ($in, $out) = (\*STDIN, \*STDOUT);
if (@ARGV && $ARGV[0] eq '--socket') {
    $in = $out = IO::Socket::UNIX->new(Peer => $ENV{CYCLONE_SOCKET}) or die "$ENV{CYCLONE_SOCKET}: $!\n";
}
# Or the answer would wait in a buffer while Cyclone waits for it.
$out->autoflush(1);

# JSON tells 1 from "1". To Perl they are the same, but for the flags that the parser has left.
sub is_whole {
    my ($value) = @_;
    return defined $value && !ref $value && B::svref_2object(\$value)->FLAGS & B::SVf_IOK;
}

my $json  = JSON::PP->new->utf8;
my $calls = 0;
my %tasks = (
    add => [2, sub {
        my ($first, $second) = @_;
        return { error => 'invalid_data_format' } if !is_whole($first) || !is_whole($second);
        return { sum => $first + $second };
    }],
    count => [0, sub { return { calls => $calls } }],
);

while (my $line = <$in>) {
    $calls++;
    my ($name, $arguments) = @{ $json->decode($line) };
    my $task = $tasks{$name};
    my $answer
        = !$task                      ? { error => 'no_such_task' }
        : @$arguments != $task->[0]   ? { error => 'invalid_param_count' }
        :                               $task->[1]->(@$arguments);
    print $out $json->encode($answer), "\n";
}
