#!/bin/sh
# Unpacks Debian's MediaWiki into .cache/mediawiki: its package would bring and start a web server.
set -eu
target=$(cd "$(dirname "$0")/../.." && pwd)/.cache/mediawiki
[ -f "$target/complete" ] && exit
rm -rf "$target"
mkdir -p "$target"
cd "$target"
apt-get download -qq mediawiki mediawiki-classes
for package in *.deb; do
    dpkg-deb -x "$package" .
    rm "$package"
done
# They lead to where the package would have put its settings.
cd usr/share/mediawiki
rm -f LocalSettings.php config extensions images
mkdir extensions images
touch "$target/complete"
