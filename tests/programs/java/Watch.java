// A program that reloads by the JDK's WatchService: java Watch.java FOLDER FILE
//
// Each event of a key is one reaction, whatever its name: what the JDK tells is what is counted.

import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchEvent;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;

class Watch {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        Path file = Path.of(arguments[1]);
        WatchService service = FileSystems.getDefault().newWatchService();
        folder.register(
                service,
                StandardWatchEventKinds.ENTRY_CREATE,
                StandardWatchEventKinds.ENTRY_MODIFY,
                StandardWatchEventKinds.ENTRY_DELETE);
        System.out.println("ready " + System.getProperty("java.version"));
        while (true) {
            WatchKey key = service.take();
            for (WatchEvent<?> event : key.pollEvents()) {
                Path name = (Path) event.context();
                // The JDK counts the same event twice in one batch as one with a count.
                for (int count = 0; count < event.count(); count++) {
                    System.out.printf(
                            "reaction {\"name\":%s,\"file\":%s,\"named\":%s}%n",
                            quote(name.toString()), read(file), read(folder.resolve(name)));
                }
            }
            key.reset();
        }
    }

    private static String read(Path path) {
        try {
            return quote(Files.readString(path));
        } catch (IOException none) {
            return "null";
        }
    }

    // The test's contents need no escapes.
    private static String quote(String text) {
        return '"' + text + '"';
    }
}
