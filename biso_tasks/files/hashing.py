"""SHA-256 of many files without a name in any command line: who lists a host's processes reads
their words, and a file may be called after a person.
"""

from __future__ import annotations

from typing import Final

from biso_tasks.host.command import PERL

__all__ = ["HASHING"]

# `hasher` says once what there is; `hash_names` reads names on stdin, each with a NUL byte behind
# it, and writes a line of SHA256SUMS for each, in their order. perl opens the files, or bash, which
# takes fifty times as long, and the program is given their descriptors: /dev/fd is closed to
# everybody but who runs it. OpenSSL asks the processor for it and takes a quarter of the time of
# many a coreutils. Where it fails sha256sum reads the same files, and then each by itself, to say
# what cannot be read. Where a program was killed this shell is killed as well, or that would look
# like a file that cannot be read. Not every sha256sum escapes a carriage return: `$1` of `hasher`
# is a folder in which it is asked, "" where nobody reads the names.
HASHING: Final = r"""
hasher() {
  with=sha256sum cr=
  [ "$(openssl dgst -sha256 -r </dev/null 2>/dev/null | cut -c1-64)" != \
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 ] || with=openssl
  [ -n "$1" ] || return 0
  : >"$1/"$'a\rb' || return
  case $(sha256sum -- "$1/"$'a\rb') in \\*) cr=1 ;; esac
  rm -f -- "$1/"$'a\rb'
}
hash_batch() {
  local code=0
  sums=()
  case $1 in
    openssl) mapfile -t sums < <(exec openssl dgst -sha256 -r "${fds[@]}" 2>/dev/null) ;;
    *) mapfile -t sums < <(exec sha256sum -- "${fds[@]}" 2>/dev/null) ;;
  esac
  wait "$!" || code=$?
  [ "$code" -le 128 ] || kill -KILL "$BASHPID"
  [ "$code" = 0 ] && [ "${#sums[@]}" = "${#fds[@]}" ]
}
hash_names() {
  local code=0
  if type -P perl >/dev/null; then
    @PERL@ -e '
      use strict;
      my ($with, $cr) = @ARGV;
      sub fail { print STDERR @_, "\n"; exit 1 }
      my %escaped = ("\\" => "\\\\", "\n" => "\\n", $cr ? ("\r" => "\\r") : ());
      $^F = 1 << 30;  # what is opened is handed on
      sub sums {
        my ($files, $input, @words) = @_;
        my $child = open(my $out, "-|");
        defined $child or fail("no new process: $!");
        if (!$child) {
          $input ? open(STDIN, "<&", $input) : open(STDIN, "<", "/dev/null");
          open STDERR, ">", "/dev/null" if !$input;  # of one file alone it says why
          exec @words, $input ? () : map { "/dev/fd/" . fileno $_ } @$files or exit 127;
        }
        local $/ = "\n";
        my @lines = <$out>;
        close $out;
        exit 128 + ($? & 127) if $? & 127;
        return $? == 0 && @lines == @$files ? @lines : ();
      }
      while (1) {
        my (@names, @files);
        {
          local $/ = "\0";
          while (@names < 200 && defined(my $name = <STDIN>)) { chomp $name; push @names, $name; }
        }
        last if !@names;
        for my $name (@names) {
          open my $file, "<", "./$name" or fail("$name: $!");
          push @files, $file;
        }
        my @sums;
        @sums = sums(\@files, 0, qw(openssl dgst -sha256 -r)) if $with eq "openssl";
        @sums = sums(\@files, 0, qw(sha256sum --)) if !@sums;
        if (!@sums) {
          for my $at (0 .. $#files) {
            next if sums([$files[$at]], $files[$at], "sha256sum");
            print STDERR "$names[$at] cannot be read\n";
          }
          exit 1;
        }
        for my $at (0 .. $#names) {
          my $mark = $names[$at] =~ s/([\\\n\r])/exists $escaped{$1} ? $escaped{$1} : $1/ge
            && $names[$at] =~ /\\/ ? "\\" : "";
          print $mark . substr($sums[$at], 0, 64) . "  $names[$at]\n" or fail("$!");
        }
      }
      close STDOUT or fail("$!");' "$with" "$cr" || code=$?
    [ "$code" -le 128 ] || kill -KILL "$BASHPID"
    return "$code"
  fi
  hash_by_bash
}
hash_by_bash() {
  local names fds sums name fd at mark slash='\'
  while mapfile -d '' -n 200 -t names && [ "${#names[@]}" -gt 0 ]; do
    fds=()
    for name in "${names[@]}"; do
      exec {fd}<"./$name" || return 1
      fds+=("/dev/fd/$fd")
    done
    if ! { [ "$with" = openssl ] && hash_batch openssl; } && ! hash_batch sha256sum; then
      for at in "${!fds[@]}"; do
        sha256sum <"${fds[at]}" >/dev/null || echo "${names[at]} cannot be read" >&2
      done
      return 1
    fi
    for at in "${!fds[@]}"; do
      fd=${fds[at]#/dev/fd/}
      exec {fd}<&-
      name=${names[at]} mark=
      case $name in
        *[\\$'\n\r']*)
          name=${name//"$slash"/"$slash$slash"}
          name=${name//$'\n'/"${slash}n"}
          [ -z "$cr" ] || name=${name//$'\r'/"${slash}r"}
          [ "$name" = "${names[at]}" ] || mark=$slash ;;
      esac
      printf '%s%s  %s\n' "$mark" "${sums[at]:0:64}" "$name" || return 1
    done
  done
}
""".replace("@PERL@", PERL)
