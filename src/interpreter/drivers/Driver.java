// SPDX-License-Identifier: Apache-2.0
// The driver of java (protocol: driver.h): the JDK's own jshell, in this process. A cell is cut into
// snippets, which share one state; System.getProperty shows the environment, since a process cannot
// change its own.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import jdk.jshell.*;
import jdk.jshell.execution.LocalExecutionControlProvider;

public class Driver {
    static FileOutputStream events;

    static synchronized void send(String json) {
        try {
            events.write((json + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            Runtime.getRuntime().halt(1);
        }
    }

    static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (int i = 0; i < s.length(); i++) {
            char c = s.charAt(i);
            boolean half = Character.isSurrogate(c)
                && !(i + 1 < s.length() && Character.isSurrogatePair(c, s.charAt(i + 1)))
                && !(i > 0 && Character.isSurrogatePair(s.charAt(i - 1), c));
            if (half) c = '\ufffd'; // which no JSON has
            if (c == '"' || c == '\\') b.append('\\').append(c);
            else if (c < 32 || c > 126) b.append(String.format("\\u%04x", (int) c));
            else b.append(c);
        }
        return b.append('"').toString();
    }

    /** Each piece as it was written: where a line is cut is part of what is told. */
    static class Events extends OutputStream {
        final String name;
        Events(String name) { this.name = name; }
        @Override public void write(int b) { write(new byte[] {(byte) b}, 0, 1); }
        @Override public void write(byte[] b, int at, int n) {
            send("{\"event\":\"" + name + "\",\"text\":" + quote(new String(b, at, n, StandardCharsets.UTF_8)) + "}");
        }
    }

    static PrintStream stream(String name) {
        return new PrintStream(new Events(name), true, StandardCharsets.UTF_8) {};
    }

    // ---- a reader for the one kind of line that comes in ----

    static int at;

    static Object parse(String s) {
        char c = s.charAt(at);
        if (c == '"') return parseText(s);
        if (c == 'n') { at += 4; return null; }
        if (c != '{') throw new IllegalArgumentException("unexpected " + c);
        Map<String, Object> all = new LinkedHashMap<>();
        at++;
        while (s.charAt(at) != '}') {
            if (s.charAt(at) == ',') at++;
            String name = parseText(s);
            at++;
            all.put(name, parse(s));
        }
        at++;
        return all;
    }

    static String parseText(String s) {
        StringBuilder b = new StringBuilder();
        for (at++; s.charAt(at) != '"'; at++) {
            char c = s.charAt(at);
            if (c != '\\') { b.append(c); continue; }
            c = s.charAt(++at);
            switch (c) {
            case 'n': b.append('\n'); break;
            case 't': b.append('\t'); break;
            case 'r': b.append('\r'); break;
            case 'b': b.append('\b'); break;
            case 'f': b.append('\f'); break;
            case 'u': b.append((char) Integer.parseInt(s.substring(at + 1, at + 5), 16)); at += 4; break;
            default: b.append(c);
            }
        }
        at++;
        return b.toString();
    }

    // ---- cells ----

    @SuppressWarnings("unchecked")
    static void change(Object changes) {
        if (changes == null) return;
        ((Map<String, Object>) changes).forEach((name, value) -> {
            if (value == null) System.clearProperty(name);
            else System.setProperty(name, (String) value);
        });
    }

    static void fail(String name, String value, String trace) {
        send("{\"event\":\"error\",\"name\":" + quote(name) + ",\"value\":" + quote(value) + ",\"traceback\":" + quote(trace) + "}");
    }

    static boolean failed(JShell shell, SnippetEvent e) {
        if (e.exception() instanceof EvalException) {
            EvalException x = (EvalException) e.exception();
            StringBuilder trace = new StringBuilder(x.getExceptionClassName() + ": " + x.getMessage());
            for (StackTraceElement frame : x.getStackTrace()) trace.append("\n    at ").append(frame);
            fail(x.getExceptionClassName(), String.valueOf(x.getMessage()), trace.toString());
            return true;
        }
        if (e.exception() != null) {
            fail(e.exception().getClass().getSimpleName(), String.valueOf(e.exception().getMessage()), e.exception().toString());
            return true;
        }
        if (e.status() != Snippet.Status.REJECTED) return false;
        StringBuilder why = new StringBuilder();
        shell.diagnostics(e.snippet()).forEach(d -> why.append(why.length() > 0 ? "\n" : "").append(d.getMessage(Locale.ROOT)));
        fail("CompilationException", why.toString(), e.snippet().source() + "\n" + why);
        return true;
    }

    /** The value of the last snippet, if that is an expression. */
    static void run(JShell shell, String code) {
        String value = null;
        while (!code.isBlank()) {
            SourceCodeAnalysis.CompletionInfo info = shell.sourceCodeAnalysis().analyzeCompletion(code);
            if (!info.completeness().isComplete()) {
                fail("CompilationException", "The code is not complete", code);
                return;
            }
            value = null;
            for (SnippetEvent e : shell.eval(info.source())) {
                if (failed(shell, e)) return;
                if (e.causeSnippet() == null && e.snippet().kind() == Snippet.Kind.EXPRESSION
                    || e.causeSnippet() == null && e.snippet().subKind() == Snippet.SubKind.TEMP_VAR_EXPRESSION_SUBKIND)
                    value = e.value();
            }
            code = info.remaining();
        }
        if (value != null && !value.isEmpty())
            send("{\"event\":\"result\",\"main\":true,\"bundle\":{\"text/plain\":" + quote(value) + "}}");
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] args) throws Exception {
        FileDescriptor three = new FileDescriptor();
        java.lang.reflect.Field number = FileDescriptor.class.getDeclaredField("fd");
        number.setAccessible(true); // a socket cannot be opened by its name in /proc
        number.setInt(three, 3);
        events = new FileOutputStream(three);
        BufferedReader in = new BufferedReader(new InputStreamReader(new FileInputStream(three), StandardCharsets.UTF_8));
        System.getenv().forEach((name, value) -> {
            if (System.getProperty(name) == null) System.setProperty(name, value);
        });
        System.setOut(stream("stdout"));
        System.setErr(stream("stderr"));
        JShell shell = JShell.builder().executionEngine(new LocalExecutionControlProvider(), null).build();
        for (String name : new String[] {"java.io.*", "java.math.*", "java.net.*", "java.nio.file.*", "java.util.*",
                "java.util.concurrent.*", "java.util.function.*", "java.util.stream.*"})
            shell.eval("import " + name + ";");
        Thread main = Thread.currentThread();
        sun.misc.Signal.handle(new sun.misc.Signal("INT"), s -> shell.stop());
        send("{\"event\":\"ready\"}");
        for (String line; (line = in.readLine()) != null;) {
            at = 0;
            Map<String, Object> request = (Map<String, Object>) parse(line);
            change(request.get("before"));
            try {
                run(shell, (String) request.get("code"));
            } catch (Throwable e) {
                fail(e.getClass().getSimpleName(), String.valueOf(e.getMessage()), e.toString());
            } finally {
                change(request.get("after"));
            }
            send("{\"event\":\"done\"}");
        }
        Runtime.getRuntime().halt(0);
    }
}
